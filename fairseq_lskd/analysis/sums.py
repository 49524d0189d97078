"""Sums over the examples of each class, for means and variances. Sums of shards can be merged."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from .sketch import GROUPS, CountSketch

#: float64, because a variance is a small difference of large sums.
DTYPE = torch.float64


class ClassSums:
    """Sums of the predicted distributions of each class, whole or sketched.

    A class needs `classes` numbers if it is whole, and `width` if it is sketched. The sums of its own probability and
    of squared norms are always exact. Only the squared norm of the mean's other coordinates is estimated, without bias.

    Args:
        types: `[K]` int64, the classes to analyse; examples of other classes are skipped.
        classes: V, number of all classes.
        width: number of columns of the sketch; None: keep all.
        seed: seed of the sketch; it must be the same for sums that are merged or compared.
    """

    def __init__(self, types: Tensor, classes: int, width: int | None = None, seed: int = 0):
        self.types, self.classes, self.seed = types.long().cpu(), classes, seed
        self.sketch = None if width is None or width >= classes else CountSketch(classes, width, seed)
        size = len(types)
        self.row = torch.full((classes,), -1).index_copy_(0, self.types, torch.arange(size))
        self.counts = torch.zeros(size, dtype=torch.int64)
        self.squares = torch.zeros(size, dtype=DTYPE)  #: sum of |p|^2
        self.own = torch.zeros(size, dtype=DTYPE)  #: sum of p[class]
        self.sums = torch.zeros(size, classes if self.sketch is None else self.sketch.width, dtype=DTYPE)

    def to(self, device: torch.device | str) -> ClassSums:
        for name in ("row", "counts", "squares", "own", "sums"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def update(self, probs: Tensor, target: Tensor) -> None:
        """Add examples.

        Args:
            probs: `[N, V]`, each row sums to 1.
            target: `[N]` int64, in [0, V).
        """
        row = self.row[target]
        if not bool((row >= 0).all()):
            keep = row >= 0
            row, probs, target = row[keep], probs[keep], target[keep]
        own = probs.gather(1, target[:, None])
        if self.sketch is None:
            columns = probs = probs.to(DTYPE)
        else:  # the sketch is an estimate, so float32 is enough for single rows
            columns = self.sketch(probs.scatter(1, target[:, None], 0.0), target % GROUPS).to(DTYPE)
        self.counts.index_add_(0, row, torch.ones_like(row))
        self.squares.index_add_(0, row, probs.square().sum(1, dtype=DTYPE))
        self.own.index_add_(0, row, own.squeeze(1).to(DTYPE))
        self.sums.index_add_(0, row, columns)

    def merge(self, other: ClassSums) -> None:
        """Add the sums of another shard.

        Raises:
            ValueError: if their classes or sketches differ.
        """
        mine, theirs = ((s.classes, s.seed, s.sketch and s.sketch.width, s.types.tolist()) for s in (self, other))
        if mine != theirs:
            raise ValueError("class sums add up only over the same classes, width and seed")
        for name in ("counts", "squares", "own", "sums"):
            getattr(self, name).add_(getattr(other, name).to(self.sums.device))

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers to save, which `from_state` reads."""
        width = None if self.sketch is None else self.sketch.width
        tensors = {name: getattr(self, name).cpu() for name in ("types", "counts", "squares", "own", "sums")}
        return {"classes": self.classes, "width": width, "seed": self.seed, **tensors}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ClassSums:
        """Restore sums from `state`."""
        found = cls(state["types"], state["classes"], state["width"], state["seed"])
        for name in ("counts", "squares", "own", "sums"):
            setattr(found, name, state[name])
        return found

    def packed(self) -> Tensor:
        """Return all sums as one tensor, `[K, 3 + columns]` float64, which can be added to those of other workers."""
        rest = torch.stack([self.counts.to(DTYPE), self.squares, self.own], 1)
        return torch.cat([rest, self.sums], 1)

    def unpacked(self, packed: Tensor) -> ClassSums:
        """Return sums with the same classes and sketch from the output of `packed`, or a total of several outputs."""
        found = copy.copy(self)  # shares the sketch, which is slow to draw
        found.row = self.row.to(packed.device)
        found.counts, found.squares, found.own = packed[:, 0].round().long(), packed[:, 1], packed[:, 2]
        found.sums = packed[:, 3:]
        return found

    def fresh(self, device: torch.device | str) -> ClassSums:
        """Return empty sums with the same classes and sketch."""
        shape = len(self.types), 3 + self.sums.size(1)
        return self.unpacked(torch.zeros(shape, dtype=DTYPE, device=device))

    def means(self, rows: slice = slice(None)) -> Tensor:
        """Return the mean distribution of each class, or of some rows: `[K, V]` float64; NaN without examples.

        Raises:
            ValueError: if the sums are sketched.
        """
        if self.sketch is not None:
            raise ValueError("a sketch has no mean distributions")
        return self.sums[rows] / self.counts[rows, None]


class PointSums:
    """Sums of the activations of each class, for centres and spreads.

    Args:
        types: `[K]` int64, the classes to analyse.
        classes: V, number of all classes.
        dim: D, size of an activation.
    """

    def __init__(self, types: Tensor, classes: int, dim: int):
        self.types, self.classes = types.long().cpu(), classes
        size = len(types)
        self.row = torch.full((classes,), -1).index_copy_(0, self.types, torch.arange(size))
        self.counts = torch.zeros(size, dtype=torch.int64)
        self.squares = torch.zeros(size, dtype=DTYPE)
        self.sums = torch.zeros(size, dim, dtype=DTYPE)

    def update(self, points: Tensor, target: Tensor) -> None:
        """Add examples: `points` is `[N, D]`, `target` `[N]` int64."""
        points, target = points.to("cpu", DTYPE), target.cpu()
        row = self.row[target]
        keep = row >= 0
        row, points = row[keep], points[keep]
        self.counts.index_add_(0, row, torch.ones_like(row))
        self.squares.index_add_(0, row, points.square().sum(1))
        self.sums.index_add_(0, row, points)

    def merge(self, other: PointSums) -> None:
        """Add the sums of another shard; `ValueError` if their classes differ."""
        if self.types.tolist() != other.types.tolist() or self.sums.shape != other.sums.shape:
            raise ValueError("point sums add up only over the same classes and dimension")
        for name in ("counts", "squares", "sums"):
            getattr(self, name).add_(getattr(other, name))

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers to save, which `from_state` reads."""
        return {name: getattr(self, name) for name in ("types", "classes", "counts", "squares", "sums")}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> PointSums:
        """Restore sums from `state`."""
        found = cls(state["types"], state["classes"], state["sums"].size(1))
        for name in ("counts", "squares", "sums"):
            setattr(found, name, state[name])
        return found

    def centres(self) -> Tensor:
        """Return the mean of each class, `[K, D]` float64; NaN for classes without examples."""
        return self.sums / self.counts[:, None]

    def spreads(self) -> Tensor:
        """Return the root mean square distance of each class's examples from its centre, `[K]` float64."""
        inside = self.squares / self.counts - self.centres().square().sum(1)
        return inside.clamp_min(0).sqrt()
