"""Intervals beyond the bootstrap of independent units, and what an interval says of a claim."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .bootstrap import DRAWS, SEED, Interval, interval
from .quantiles import t_half_width

HELD, NOT_HELD, UNDECIDED = "held", "not held", "undecided"


def unsure(value: float) -> Interval:
    """An estimate of which there is too little to say how sure it is."""
    return Interval(value, math.nan, math.nan)


def verdict(found: Interval, positive: bool = True, threshold: float = 0.0) -> str:
    """Of the claim that something is above a threshold (else below): held if all of its interval is on that side.

    Returns:
        `HELD`, `NOT_HELD` if all of it is on the other side, else `UNDECIDED`; so too where there is no interval.
    """
    if found.low > threshold:
        return HELD if positive else NOT_HELD
    if found.high < threshold:
        return NOT_HELD if positive else HELD
    return UNDECIDED


def t_interval(values: Sequence[float]) -> Interval:
    """The mean with Student's t interval: for a few runs of different seeds, where a bootstrap is too narrow."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return unsure(mean)
    half = t_half_width(values)
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
