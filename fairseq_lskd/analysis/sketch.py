"""A random projection with unbiased squared norms, which bounds the memory of class sums."""

from __future__ import annotations

import torch
from torch import Tensor

#: Number of groups of classes (class number modulo GROUPS). A group shares its signs; errors of groups are independent.
GROUPS = 64


class CountSketch:
    """A count sketch: sums of a vector's coordinates with random signs in buckets (Charikar et al., 2002).

    The sketch is linear. Over the draw of signs and buckets, the expectation of its squared norm is the vector's
    squared norm, and the variance is `2 P (|x|_2^4 - |x|_4^4)`, where `P` = `collision` <= 1 / width is the probability
    that two coordinates share a bucket.

    Args:
        size: number of coordinates of a vector.
        width: number of buckets, at most `size`.
    """

    def __init__(self, size: int, width: int, seed: int = 0):
        random = torch.Generator().manual_seed(seed)
        self.size, self.width = size, min(width, size)
        self.order = torch.randperm(size, generator=random)
        self.signs = torch.randint(0, 2, (GROUPS, size), generator=random, dtype=torch.int8) * 2 - 1
        small, larger = divmod(size, self.width)
        pairs = larger * (small + 1) * small + (self.width - larger) * small * (small - 1)
        self.collision = pairs / (size * (size - 1)) if size > 1 else 0.0

    def __call__(self, rows: Tensor, groups: Tensor) -> Tensor:
        """Return the sketches of vectors, `[N, width]`, in their dtype.

        Args:
            rows: `[N, size]`.
            groups: `[N]`, the group of signs for each vector, in [0, GROUPS).
        """
        self.order, self.signs = self.order.to(rows.device), self.signs.to(rows.device)
        signed = (rows * self.signs[groups])[:, self.order]
        times = -(-self.size // self.width)
        padded = torch.nn.functional.pad(signed, (0, times * self.width - self.size))
        return padded.view(len(rows), times, self.width).sum(1)
