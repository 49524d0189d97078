"""Intervals beyond the bootstrap of independent units, and what an interval says of a claim."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .bootstrap import DRAWS, SEED, Interval, interval

#: Quantile 0.975 of Student's t, by degrees of freedom; from 31 on the normal one is near enough for two digits.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


def unsure(value: float) -> Interval:
    """An estimate of which there is too little to say how sure it is."""
    return Interval(value, math.nan, math.nan)


def shown(found: Interval, digits: int = 2, sign: bool = False) -> str:
    """`value [low, high]`, or `value (no interval)`."""
    if math.isnan(found.low):
        return f"{found.value:{'+' if sign else ''}.{digits}f} (no interval)"
    return found.shown(digits, sign)


def verdict(difference: Interval, positive: bool = True) -> str:
    """Whether the claim that a difference is above 0 (else below) is `held`, `not held` or `undecided`."""
    sign = difference.sign if positive else -difference.sign
    return {1: "held", -1: "not held", 0: "undecided"}[sign]


def t_interval(values: Sequence[float]) -> Interval:
    """The mean with Student's t interval: for a few runs of different seeds, where a bootstrap is too narrow."""
    n, mean = len(values), math.fsum(values) / len(values)
    if n < 2:
        return unsure(mean)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = (_T[n - 2] if n - 2 < len(_T) else 1.960) * deviation / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def series_interval(values: Sequence[float], draws: int = DRAWS, seed: int = SEED) -> Interval:
    """The mean of a series whose neighbours are alike: a circular block bootstrap (Politis & Romano, 1992).

    Blocks have the cube root of the series' length, the order that is best for them. Of fewer than 4 values nothing is
    said.
    """
    found = torch.tensor(values, dtype=torch.float64)
    n = len(found)
    if n < 4:
        return unsure(found.mean().item())
    block = round(n ** (1 / 3))
    random = torch.Generator().manual_seed(seed)
    starts = torch.randint(n, (draws, math.ceil(n / block), 1), generator=random)
    drawn = (starts + torch.arange(block)).flatten(1)[:, :n] % n
    return interval(found.mean().item(), found[drawn].mean(1))
