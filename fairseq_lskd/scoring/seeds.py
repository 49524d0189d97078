"""What several seeds say together: mean, standard deviation, and how sure the mean is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

#: 0.975 quantiles of Student's t distribution for 1, 2, ... degrees of freedom (any table of it).
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


class Spread(NamedTuple):
    n: int
    mean: float
    std: float | None  #: of the sample (n - 1); None for one value
    interval: tuple[float, float] | None  #: 95 %, for the mean, by Student's t; None for one value


def spread(values: Sequence[float]) -> Spread:
    """Mean, sample standard deviation and 95 % interval of the mean.

    Raises:
        ValueError: if there is no value.
    """
    n, mean = len(values), statistics.fmean(values)
    if n == 1:
        return Spread(n, mean, None, None)
    std = statistics.stdev(values)
    half = (_T[n - 2] if n - 2 < len(_T) else 1.96) * std / math.sqrt(n)
    return Spread(n, mean, std, (mean - half, mean + half))
