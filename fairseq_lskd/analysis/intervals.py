"""Intervals for seeds and for series, and verdicts from intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .bootstrap import DRAWS, SEED, Interval, interval
from .quantiles import t_half_width

HELD, NOT_HELD, UNDECIDED = "held", "not held", "undecided"
#: The verdict on a claim for which an input is missing.
NOT_MEASURED = "not measured"


def unsure(value: float) -> Interval:
    """Return an estimate without an interval."""
    return Interval(value, math.nan, math.nan)


def verdict(found: Interval, positive: bool = True, threshold: float = 0.0) -> str:
    """Judge the claim that a quantity is above a threshold (below it, if not `positive`).

    Returns:
        `HELD` if the whole interval is on the claimed side, `NOT_HELD` if it is on the other side, else `UNDECIDED`
        (also without an interval).
    """
    if found.low > threshold:
        return HELD if positive else NOT_HELD
    if found.high < threshold:
        return NOT_HELD if positive else HELD
    return UNDECIDED


def t_interval(values: Sequence[float]) -> Interval:
    """Return the mean with Student's t interval, for a few seeds, for which a bootstrap interval is too narrow."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return unsure(mean)
    half = t_half_width(values)
    return Interval(mean, mean - half, mean + half)


def series_interval(values: Sequence[float], draws: int = DRAWS, seed: int = SEED) -> Interval:
    """Return the mean of a correlated series with a circular block bootstrap interval (Politis & Romano, 1992).

    The length of blocks is the cube root of the series' length, which is the optimal order. With fewer than 4 values
    there is no interval.
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
