"""Stability, the paper's metric of erased information (Shen et al., ICLR 2021, equation 2).

`S = 1 - (1/K) sum_c (1/n_c) sum_{i in c} |p_i - mean_c|^2`. What is reported is `1 - S`, as in the
paper's tables: the mean variance within a class, lower where more is erased.
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

#: Classes by how many examples they have: from each number up to below the next.
BUCKETS = (1, 2, 5, 10, 20, 50, 100, 500, 1000)
#: Classes whose sums are squared together.
ROWS = 256
#: By Chebyshev's inequality, so many standard errors hold 95 % of all draws, whatever their distribution.
CHEBYSHEV = math.sqrt(20)


@dataclass(frozen=True)
class Stability:
    """The variance within each class that has enough examples, in the order of `types`."""

    types: Tensor  #: [K] int64
    counts: Tensor  #: [K] int64, n_c
    variances: Tensor  #: [K] float64, (1/n_c) sum |p_i - mean_c|^2
    min_count: int
    standard_error: float  #: of 1 - S over draws of the sketch; 0 where all classes are exact

    @property
    def value(self) -> float:
        """`1 - S`."""
        return self.variances.mean().item()

    @property
    def error_bound(self) -> float:
        """What the sketch's error in `1 - S` is below, with at least 95 % probability over the sketch's draw."""
        return CHEBYSHEV * self.standard_error

    def interval(self) -> Interval:
        """Of `1 - S`, over resamples of the classes.

        The classes, and not the examples, are drawn, because equation (2) is a mean of K values of one
        class each: the interval then holds the classes' differences as well as the noise of their few
        examples, and asks whether another set of types would say the same. It needs one number a class.
        """
        return mean_interval(self.variances)


def stability(*sums: ClassSums, min_count: int) -> Stability:
    """Equation (2) from sums of disjoint classes, whole or sketched, over classes of at least `min_count` examples.

    The squared norm of a sketched mean `x` (its own coordinate aside) has the standard error
    `sqrt(2 P) |x|^2`, estimated from the sketch itself. Errors of classes that share signs add up at
    worst, those of different groups are independent.
    """
    types, counts, variances = [], [], []
    groups = torch.zeros(GROUPS, dtype=DTYPE)
    for part in sums:
        found = part.counts >= max(min_count, 1)
        n = part.counts[found].to(DTYPE)
        # Some rows at a time, since the sums may fill half of the memory.
        norms = torch.cat([rows.square().sum(1) for rows in part.sums.split(ROWS)]) if len(part.types) else part.own
        rest = norms[found] / n.square()
        mean = rest
        if part.sketch is not None:
            mean = rest + (part.own[found] / n).square()
            group = part.types[found.cpu()] % GROUPS
            groups.index_add_(0, group, math.sqrt(2 * part.sketch.collision) * rest.cpu())
        types.append(part.types[found.cpu()])
        counts.append(part.counts[found].cpu())
        # Without clamping, so that a sketch's errors of either sign cancel.
        inside = part.squares[found] / n - mean
        variances.append((inside if part.sketch is not None else inside.clamp_min(0)).cpu())
    size = sum(map(len, types))
    error = groups.square().sum().sqrt().item() / size if size else 0.0
    return Stability(torch.cat(types), torch.cat(counts), torch.cat(variances), min_count, error)


@dataclass(frozen=True)
class Bucket:
    """The classes of which there are at least `low` and below `high` examples."""

    low: int
    high: float
    members: Tensor  #: [K] bool

    @property
    def name(self) -> str:
        """Such as "5-9" or "1000 or more"."""
        if self.high == math.inf:
            return f"{self.low} or more"
        return f"{self.low}-{int(self.high) - 1}" if self.high > self.low + 1 else str(self.low)


def buckets(counts: Tensor, edges: Sequence[int] = BUCKETS) -> list[Bucket]:
    """The buckets, of ascending frequency, that have a member."""
    found = [
        Bucket(low, high, (counts >= low) & (counts < high))
        for low, high in zip(edges, [*edges[1:], math.inf], strict=True)
    ]
    return [bucket for bucket in found if bucket.members.any()]
