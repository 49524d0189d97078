"""A random projection in which squared norms keep their mean: what bounds the memory of class sums."""

from __future__ import annotations

import torch
from torch import Tensor

#: Classes share their signs with those of the same number modulo this: errors of different groups are independent.
GROUPS = 64


class CountSketch:
    """Adds up the coordinates of a vector, with random signs, in a few buckets (Charikar et al., 2002).

    It is linear, so that sketches add up as the vectors do. The squared norm of a sketch has the
    vector's as its mean, and the variance `2 P (|x|_2^4 - |x|_4^4)` over the draw of signs and buckets,
    where `P` = `collision` <= 1 / width is the probability that two coordinates share a bucket.
    """

    def __init__(self, size: int, width: int, seed: int = 0):
        """size: coordinates of a vector; width: buckets, at most as many."""
        random = torch.Generator().manual_seed(seed)
        self.size, self.width = size, min(width, size)
        self.order = torch.randperm(size, generator=random)
        self.signs = torch.randint(0, 2, (GROUPS, size), generator=random, dtype=torch.int8) * 2 - 1
        small, larger = divmod(size, self.width)
        pairs = larger * (small + 1) * small + (self.width - larger) * small * (small - 1)
        self.collision = pairs / (size * (size - 1)) if size > 1 else 0.0

    def __call__(self, rows: Tensor, groups: Tensor) -> Tensor:
        """Sketches of vectors.

        Args:
            rows: `[N, size]`; groups: `[N]`, which signs each gets, in [0, GROUPS).

        Returns:
            `[N, width]`, of the same dtype.
        """
        self.order, self.signs = self.order.to(rows.device), self.signs.to(rows.device)
        signed = (rows * self.signs[groups])[:, self.order]
        times = -(-self.size // self.width)
        padded = torch.nn.functional.pad(signed, (0, times * self.width - self.size))
        return padded.view(len(rows), times, self.width).sum(1)
