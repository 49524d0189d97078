"""Quantiles of Student's t distribution, without a library to compute them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

#: 0.975 quantiles for 1, 2, ... degrees of freedom (any table of it).
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


def t_quantile(freedom: int) -> float:
    """The 0.975 quantile, of which 95 % intervals are made; beyond 30 degrees of freedom the normal distribution's.

    Args:
        freedom: degrees of freedom, at least 1.
    """
    return _T[freedom - 1] if freedom <= len(_T) else 1.960


def t_half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of the mean of at least two values, by Student's t."""
    return t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
