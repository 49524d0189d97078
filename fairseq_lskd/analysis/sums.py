"""Sums over the examples of each class, from which means and variances follow; they add up over shards."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from .sketch import GROUPS, CountSketch

#: Statistics are kept in float64, since a variance is a small difference of large sums.
DTYPE = torch.float64


class ClassSums:
    """Sums of the predicted distributions of each class: whole, or sketched to a bounded number of columns.

    Whole, a class needs `classes` numbers; sketched, `width`. Its own probability and the squared norms
    are exact in either case: only the squared norm of its mean's other coordinates is estimated, without bias.
    """

    def __init__(self, types: Tensor, classes: int, width: int | None = None, seed: int = 0):
        """Sums of nothing yet.

        Args:
            types: `[K]` int64, the classes to look at; examples of others are passed over.
            classes: V, how many there are in all.
            width: columns of the sketch; None keeps all.
            seed: of the sketch; sums that are to be merged or compared need the same.
        """
        self.types, self.classes, self.seed = types.long().cpu(), classes, seed
        self.sketch = None if width is None or width >= classes else CountSketch(classes, width, seed)
        size = len(types)
        self.row = torch.full((classes,), -1).index_copy_(0, self.types, torch.arange(size))
        self.counts = torch.zeros(size, dtype=torch.int64)
        self.squares = torch.zeros(size, dtype=DTYPE)  #: sum of |p|^2
        self.own = torch.zeros(size, dtype=DTYPE)  #: sum of p[class]
        self.sums = torch.zeros(size, classes if self.sketch is None else self.sketch.width, dtype=DTYPE)

    def to(self, device: torch.device | str) -> ClassSums:
        """Move to a device."""
        for name in ("row", "counts", "squares", "own", "sums"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def update(self, probs: Tensor, target: Tensor) -> None:
        """Add examples.

        Args:
            probs: `[N, V]`, each row sums to 1; target: `[N]` int64, in [0, V).
        """
        row = self.row[target]
        if not bool((row >= 0).all()):
            keep = row >= 0
            row, probs, target = row[keep], probs[keep], target[keep]
        own = probs.gather(1, target[:, None])
        if self.sketch is None:
            columns = probs = probs.to(DTYPE)
        else:  # an estimate: it gains nothing from rows in float64
            columns = self.sketch(probs.scatter(1, target[:, None], 0.0), target % GROUPS).to(DTYPE)
        self.counts.index_add_(0, row, torch.ones_like(row))
        self.squares.index_add_(0, row, probs.square().sum(1, dtype=DTYPE))
        self.own.index_add_(0, row, own.squeeze(1).to(DTYPE))
        self.sums.index_add_(0, row, columns)

    def merge(self, other: ClassSums) -> None:
        """Add the sums of another shard.

        Raises:
            ValueError: if they are not of the same classes and the same sketch.
        """
        mine, theirs = ((s.classes, s.seed, s.sketch and s.sketch.width, s.types.tolist()) for s in (self, other))
        if mine != theirs:
            raise ValueError("class sums add up only over the same classes, width and seed")
        for name in ("counts", "squares", "own", "sums"):
            getattr(self, name).add_(getattr(other, name).to(self.sums.device))

    def state(self) -> dict[str, Any]:
        """Tensors and numbers, to be written to a file and read by `from_state`."""
        width = None if self.sketch is None else self.sketch.width
        tensors = {name: getattr(self, name).cpu() for name in ("types", "counts", "squares", "own", "sums")}
        return {"classes": self.classes, "width": width, "seed": self.seed, **tensors}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ClassSums:
        """What `state` returned, as sums again."""
        found = cls(state["types"], state["classes"], state["width"], state["seed"])
        for name in ("counts", "squares", "own", "sums"):
            setattr(found, name, state[name])
        return found

    def packed(self) -> Tensor:
        """`[K, 3 + columns]` float64: all of it as one tensor, which can be added to those of other workers."""
        rest = torch.stack([self.counts.to(DTYPE), self.squares, self.own], 1)
        return torch.cat([rest, self.sums], 1)

    def unpacked(self, packed: Tensor) -> ClassSums:
        """Sums like these, of what `packed` returned, or a total of several."""
        found = copy.copy(self)  # with the same sketch, which takes long to draw
        found.row = self.row.to(packed.device)
        found.counts, found.squares, found.own = packed[:, 0].round().long(), packed[:, 1], packed[:, 2]
        found.sums = packed[:, 3:]
        return found

    def fresh(self, device: torch.device | str) -> ClassSums:
        """Sums like these, of nothing yet."""
        shape = len(self.types), 3 + self.sums.size(1)
        return self.unpacked(torch.zeros(shape, dtype=DTYPE, device=device))

    def means(self, rows: slice = slice(None)) -> Tensor:
        """`[K, V]` float64, the mean distribution of each class, or of some rows; NaN where it has no example.

        Raises:
            ValueError: if the sums are sketched.
        """
        if self.sketch is not None:
            raise ValueError("a sketch does not know its mean distributions")
        return self.sums[rows] / self.counts[rows, None]


class PointSums:
    """Sums of each class's activations, from which centres and spreads follow."""

    def __init__(self, types: Tensor, classes: int, dim: int):
        """types: `[K]` int64, the classes to look at; classes: V, in all; dim: D, of an activation."""
        self.types, self.classes = types.long().cpu(), classes
        size = len(types)
        self.row = torch.full((classes,), -1).index_copy_(0, self.types, torch.arange(size))
        self.counts = torch.zeros(size, dtype=torch.int64)
        self.squares = torch.zeros(size, dtype=DTYPE)
        self.sums = torch.zeros(size, dim, dtype=DTYPE)

    def update(self, points: Tensor, target: Tensor) -> None:
        """Add examples: points `[N, D]`, target `[N]` int64."""
        points, target = points.to("cpu", DTYPE), target.cpu()
        row = self.row[target]
        keep = row >= 0
        row, points = row[keep], points[keep]
        self.counts.index_add_(0, row, torch.ones_like(row))
        self.squares.index_add_(0, row, points.square().sum(1))
        self.sums.index_add_(0, row, points)

    def merge(self, other: PointSums) -> None:
        """Add the sums of another shard, which are of the same classes."""
        if self.types.tolist() != other.types.tolist() or self.sums.shape != other.sums.shape:
            raise ValueError("point sums add up only over the same classes and dimension")
        for name in ("counts", "squares", "sums"):
            getattr(self, name).add_(getattr(other, name))

    def state(self) -> dict[str, Any]:
        """Tensors and numbers, to be written to a file and read by `from_state`."""
        return {name: getattr(self, name) for name in ("types", "classes", "counts", "squares", "sums")}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> PointSums:
        """What `state` returned, as sums again."""
        found = cls(state["types"], state["classes"], state["sums"].size(1))
        for name in ("counts", "squares", "sums"):
            setattr(found, name, state[name])
        return found

    def centres(self) -> Tensor:
        """`[K, D]` float64, the mean of each class; NaN where it has no example."""
        return self.sums / self.counts[:, None]

    def spreads(self) -> Tensor:
        """`[K]` float64, the root mean square distance of a class's examples from its centre."""
        inside = self.squares / self.counts - self.centres().square().sum(1)
        return inside.clamp_min(0).sqrt()
