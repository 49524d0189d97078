"""Percentile bootstrap intervals (Efron, 1979), paired over systems."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

DRAWS, LEVEL, SEED = 2000, 0.95, 1
#: Number of weights drawn at once, which bounds the memory.
BLOCK = 2**22


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % confidence interval; NaN if there is none."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 if the whole interval is above 0, -1 if it is below 0, else 0."""
        return (self.low > 0) - (self.high < 0)

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"

    def shown(self, digits: int = 2, sign: bool = False, factor: float = 1.0) -> str:
        """Format as `value [low, high]` or `value (no interval)`.

        Args:
            digits: number of decimals.
            sign: whether to write "+" before positive numbers.
            factor: multiplier, such as 100 for percent.
        """
        one = f"{{:{'+' if sign else ''}.{digits}f}}"
        value, low, high = (one.format(factor * number) for number in (self.value, self.low, self.high))
        return f"{value} (no interval)" if math.isnan(self.low) else f"{value} [{low}, {high}]"


def resamples(size: int, draws: int = DRAWS, seed: int = SEED) -> Iterator[Tensor]:
    """Yield how often each of `size` units is drawn with replacement: `[n, size]` float64, for n draws at a time.

    For a single unit the values are NaN, because it gives no information about the variation between units.
    """
    random = torch.Generator().manual_seed(seed)
    step = max(1, BLOCK // max(size, 1))
    for start in range(0, draws, step):
        count = min(step, draws - start)
        if size < 2:
            yield torch.full((count, size), math.nan, dtype=torch.float64)
            continue
        chosen = torch.randint(size, (count, size), generator=random)
        chosen += size * torch.arange(count)[:, None]
        yield torch.bincount(chosen.flatten(), minlength=count * size).view(count, size).double()


def resampled_ratios(numerators: Tensor, denominators: Tensor, draws: int = DRAWS, seed: int = SEED) -> Tensor:
    """Return the ratio of two sums over units for each resample.

    Args:
        numerators: `[N, C]`, one column per statistic.
        denominators: `[N]`, the size of each unit (1 for a mean over units).

    Returns:
        `[draws, C]` float64. All columns use the same resamples, so their differences are paired.
    """
    both = torch.cat([numerators.double(), denominators.double()[:, None]], 1)
    sums = torch.cat([weights @ both for weights in resamples(len(both), draws, seed)])
    return sums[:, :-1] / sums[:, -1:]


def interval(value: float, replicates: Tensor, level: float = LEVEL) -> Interval:
    """Return the percentile interval of an estimate `value` from `[draws]` resampled values."""
    replicates = replicates[~replicates.isnan()]
    if not len(replicates):
        return Interval(value, float("nan"), float("nan"))
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = replicates.double().quantile(ends).tolist()
    return Interval(value, low, high)


def mean_interval(values: Tensor, draws: int = DRAWS, seed: int = SEED) -> Interval:
    """Return the mean of `[N]` values of independent units, with its interval."""
    value = values.double().mean().item()
    return interval(value, resampled_ratios(values[:, None], torch.ones(len(values)), draws, seed)[:, 0])
