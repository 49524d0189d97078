"""Estimates with their 95 % intervals, and what an interval says of a claim."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
DRAWS = 2000  #: of a bootstrap

#: Rows of resampling weights that are in memory together, times units.
_BLOCK = 4_000_000

#: Quantile 0.975 of Student's t, by degrees of freedom; from 31 on the normal one is near enough for two digits.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its 95 % interval; they are NaN where there is too little to tell."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        return self.shown()

    def shown(self, digits: int = 2) -> str:
        """`value [low, high]`, or without ends where there are none."""
        if math.isnan(self.low):
            return f"{self.value:.{digits}f} [no interval]"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def verdict(difference: Interval, positive: bool = True) -> str:
    """Whether a claim about the sign of a difference is `held`, `not held` or `undecided`, by its interval."""
    low, high = (difference.low, difference.high) if positive else (-difference.high, -difference.low)
    return "held" if low > 0 else "not held" if high < 0 else "undecided"


def resampled(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], units: int, draws: int = DRAWS, seed: int = 1
) -> NDArray[np.float64]:
    """A statistic of `draws` bootstrap samples of `units` things (sentences, say).

    Args:
        statistic: of `[n, units]`, how often each unit was drawn, row by row; gives `[n, ...]`.

    Returns:
        `[draws, ...]`.
    """
    return np.concatenate([statistic(weights) for weights in _draws(units, draws, seed)])


def _draws(units: int, draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    at_once = max(1, _BLOCK // units)
    for start in range(0, draws, at_once):
        rows = min(at_once, draws - start)
        drawn = rng.integers(units, size=(rows, units)) + units * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)


def percentile_interval(value: float, draws: ArrayLike) -> Interval:
    """The middle 95 % of a statistic's bootstrap draws; draws that are NaN are left out."""
    found = np.asarray(draws, dtype=np.float64)
    found = found[~np.isnan(found)]
    if len(found) == 0 or math.isnan(value):
        return Interval(value)
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def ratio_interval(numerator: ArrayLike, denominator: ArrayLike, draws: int = DRAWS, seed: int = 1) -> Interval:
    """`sum(numerator) / sum(denominator)` of `[units]` each, with a bootstrap interval over units."""
    above, below = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    value = float(above.sum() / below.sum())
    if len(above) < 2:
        return Interval(value)
    return percentile_interval(value, resampled(lambda w: (w @ above) / (w @ below), len(above), draws, seed))


def mean_interval(values: ArrayLike, draws: int = DRAWS, seed: int = 1) -> Interval:
    """The mean of `[units]` values with a bootstrap interval over units."""
    found = np.asarray(values, dtype=np.float64)
    return ratio_interval(found, np.ones_like(found), draws, seed)


def t_interval(values: Sequence[float]) -> Interval:
    """The mean with Student's t interval: for a few runs of different seeds, where a bootstrap is too narrow."""
    found = np.asarray(values, dtype=np.float64)
    n = len(found)
    if n < 2:
        return Interval(float(found.mean()))
    quantile = _T[n - 2] if n - 2 < len(_T) else 1.960
    half = quantile * float(found.std(ddof=1)) / math.sqrt(n)
    mean = float(found.mean())
    return Interval(mean, mean - half, mean + half)


def spread_over_blocks(values: ArrayLike, block: int, draws: int = DRAWS, seed: int = 1) -> Interval:
    """The mean of a series whose neighbours are alike, with a circular block bootstrap (Politis & Romano, 1992).

    Args:
        values: `[points]`, in their order; block: points that are drawn together.
    """
    found = np.asarray(values, dtype=np.float64)
    n = len(found)
    block = max(1, min(block, n))
    if n < 2 * block or n < 4:
        return Interval(float(found.mean()))
    rng = np.random.default_rng(seed)
    starts = rng.integers(n, size=(draws, math.ceil(n / block)))
    drawn = (starts[..., None] + np.arange(block)).reshape(draws, -1)[:, :n] % n
    return percentile_interval(float(found.mean()), found[drawn].mean(1))
