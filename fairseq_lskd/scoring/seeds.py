"""What several seeds say together: mean, standard deviation, and how sure the mean is."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from ..analysis.quantiles import t_half_width


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
    half = t_half_width(values)
    return Spread(n, mean, statistics.stdev(values), (mean - half, mean + half))
