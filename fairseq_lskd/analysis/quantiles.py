"""Quantiles of Student's t distribution."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence


@functools.cache
def t_quantile(freedom: int) -> float:
    """Return the 0.975 quantile for an integer number of degrees of freedom, for 95 % intervals.

    The distribution is a finite sum (Abramowitz & Stegun, 1964, 26.7.3 and 26.7.4), which is inverted by bisection.
    SciPy would be a large dependency for one number.

    Args:
        freedom: degrees of freedom, at least 1.
    """
    if freedom < 1:
        raise ValueError(f"found {freedom} degrees of freedom, expected at least 1")
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _within(middle, freedom) < 0.95 else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def t_half_width(values: Sequence[float]) -> float:
    """Return half of the 95 % interval (Student's t) of the mean of at least two values."""
    return t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


def _within(angle: float, freedom: int) -> float:
    """Return the probability that |t| < sqrt(freedom) * tan(angle)."""
    odd = freedom % 2
    cosine = math.cos(angle)
    term, total = cosine if odd else 1.0, 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= cosine * cosine * (power + 1) / (power + 2)
    inside = total * math.sin(angle)
    return (angle + inside) * 2 / math.pi if odd else inside
