"""Mean, standard deviation and confidence interval over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from ..analysis.quantiles import t_half_width


class Spread(NamedTuple):
    n: int
    mean: float
    std: float | None  #: sample standard deviation (n - 1); None for one value
    interval: tuple[float, float] | None  #: 95 % confidence interval of the mean (Student's t); None for one value


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of values.

    Raises:
        ValueError: if there is no value.
    """
    n, mean = len(values), statistics.fmean(values)
    if n == 1:
        return Spread(n, mean, None, None)
    half = t_half_width(values)
    return Spread(n, mean, statistics.stdev(values), (mean - half, mean + half))
