"""Stability, a measure of erased information (Shen et al., ICLR 2021, equation 2).

`S = 1 - (1/K) sum_c (1/n_c) sum_{i in c} |p_i - mean_c|^2`. Tables report `1 - S`, as in the paper: the mean variance
within a class. It is lower if more is erased.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .bootstrap import Interval, mean_interval
from .sketch import GROUPS
from .sums import DTYPE, ClassSums

#: Lower bounds of the buckets of classes by number of examples.
BUCKETS = (1, 2, 5, 10, 20, 50, 100, 500, 1000)
#: Number of classes whose sums are squared at a time.
ROWS = 256
#: Number of standard errors that contain at least 95 % of any distribution, by Chebyshev's inequality.
CHEBYSHEV = math.sqrt(20)


@dataclass(frozen=True)
class Stability:
    """The variances within classes that have enough examples, in the order of `types`."""

    types: Tensor  #: [K] int64
    counts: Tensor  #: [K] int64, n_c
    variances: Tensor  #: [K] float64, (1/n_c) sum |p_i - mean_c|^2
    min_count: int
    standard_error: float  #: standard error of 1 - S over draws of the sketch; 0 if all classes are exact

    @property
    def value(self) -> float:
        """`1 - S`."""
        return self.variances.mean().item()

    @property
    def error_bound(self) -> float:
        """An upper bound of the sketch's error in `1 - S` with a probability of at least 95 %."""
        return CHEBYSHEV * self.standard_error

    def interval(self) -> Interval:
        """Return `1 - S` with an interval over resamples of classes.

        Equation (2) is a mean of K values, one per class. The interval over classes covers both the differences between
        classes and the noise of their examples, and needs one number per class.
        """
        return mean_interval(self.variances)


def stability(*sums: ClassSums, min_count: int) -> Stability:
    """Return equation (2) from sums of disjoint classes, whole or sketched, with at least `min_count` examples each.

    The squared norm of a sketched mean `x`, without the class's own coordinate, has the standard error
    `sqrt(2 P) |x|^2`, which is estimated from the sketch. In the worst case errors of classes in one group add up.
    Errors of different groups are independent.
    """
    types, counts, variances = [], [], []
    groups = torch.zeros(GROUPS, dtype=DTYPE)
    for part in sums:
        found = part.counts >= max(min_count, 1)
        n = part.counts[found].to(DTYPE)
        # Square some rows at a time, because the sums may fill half of the memory.
        norms = torch.cat([rows.square().sum(1) for rows in part.sums.split(ROWS)]) if len(part.types) else part.own
        rest = norms[found] / n.square()
        mean = rest
        if part.sketch is not None:
            mean = rest + (part.own[found] / n).square()
            group = part.types[found.cpu()] % GROUPS
            groups.index_add_(0, group, math.sqrt(2 * part.sketch.collision) * rest.cpu())
        types.append(part.types[found.cpu()])
        counts.append(part.counts[found].cpu())
        # Estimates from a sketch are not clamped, so that errors of both signs cancel.
        inside = part.squares[found] / n - mean
        variances.append((inside if part.sketch is not None else inside.clamp_min(0)).cpu())
    size = sum(map(len, types))
    error = groups.square().sum().sqrt().item() / size if size else 0.0
    return Stability(torch.cat(types), torch.cat(counts), torch.cat(variances), min_count, error)


@dataclass(frozen=True)
class Bucket:
    """Classes with at least `low` and fewer than `high` examples."""

    low: int
    high: float
    members: Tensor  #: [K] bool

    @property
    def name(self) -> str:
        """The range, such as "5-9" or "1000 or more"."""
        if self.high == math.inf:
            return f"{self.low} or more"
        return f"{self.low}-{int(self.high) - 1}" if self.high > self.low + 1 else str(self.low)


def buckets(counts: Tensor, edges: Sequence[int] = BUCKETS) -> list[Bucket]:
    """Return the non-empty buckets in ascending order."""
    found = [
        Bucket(low, high, (counts >= low) & (counts < high))
        for low, high in zip(edges, [*edges[1:], math.inf], strict=True)
    ]
    return [bucket for bucket in found if bucket.members.any()]
