"""Statistics of a classifier's predictions from one pass over a split: bounded sums, and one row per example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .sums import ClassSums, PointSums

#: Minimum width of a sketch. With fewer columns its error would exceed the measured quantity.
LEAST_WIDTH = 64


@dataclass(frozen=True)
class Plan:
    """The classes to analyse. All models and shards use the same plan."""

    classes: int  #: V, number of all classes
    exact: Tensor  #: [K1] int64, classes with whole mean distributions, the most frequent first
    sketched: Tensor  #: [K2] int64, the other classes with enough examples
    width: int  #: number of columns of the sketch
    min_count: int

    @property
    def types(self) -> Tensor:
        """The K classes to analyse, `[K]`."""
        return torch.cat([self.exact, self.sketched])

    @property
    def bytes(self) -> int:
        """The memory of the sums in bytes."""
        return 8 * (len(self.exact) * self.classes + len(self.sketched) * self.width)

    @classmethod
    def make(cls, counts: Tensor, min_count: int, budget: float) -> Plan:
        """Plan for a memory budget.

        All classes have whole distributions if these fit the budget. Otherwise half of it holds those of the most
        frequent classes, and the other half a sketch of the rest.

        Args:
            counts: `[V]`, number of examples of each class in all shards.
            min_count: minimum number of examples of a class.
            budget: bytes for the sums of one model.

        Raises:
            ValueError: if no class has enough examples, or the budget is too small.
        """
        classes = len(counts)
        order = counts.argsort(descending=True, stable=True)
        types = order[counts[order] >= max(min_count, 1)]
        if not len(types):
            raise ValueError(f"no class has {min_count} examples; the most frequent has {int(counts.max())}")
        if 8 * classes * len(types) <= budget:
            return cls(classes, types, types[:0], classes, min_count)
        whole = int(budget / 2 // (8 * classes))
        width = int(budget / 2 // (8 * (len(types) - whole)))
        if whole < 1 or width < LEAST_WIDTH:
            raise ValueError(f"{len(types)} of {classes} classes do not fit {budget:.3g} bytes")
        return cls(classes, types[:whole], types[whole:], min(width, classes), min_count)


@dataclass
class Tokens:
    """One row per example, in the order of the pass."""

    unit: Tensor  #: [N] int64, the unit of resampling, such as the number of the sentence
    target: Tensor  #: [N] int64
    nll: Tensor  #: [N] float32, nats
    confidence: Tensor  #: [N] float32, the probability of the most probable class
    correct: Tensor  #: [N] bool
    entropy: Tensor  #: [N] float32, nats

    @classmethod
    def joined(cls, parts: Sequence[Tokens]) -> Tokens:
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__})

    def __len__(self) -> int:
        return len(self.target)

    def by_unit(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ascending units `[U]`, the sum of their values `[N, ...]`, float64, and their sizes `[U]`."""
        units, place, count = self.unit.unique(return_inverse=True, return_counts=True)
        sums = torch.zeros(len(units), *values.shape[1:], dtype=torch.float64)
        return units, sums.index_add_(0, place, values.double()), count


class Measurement:
    """The statistics of one model. Statistics of disjoint shards can be merged."""

    def __init__(self, plan: Plan, dim: int | None = None, device: torch.device | str = "cpu"):
        """Create empty statistics. `dim` is D, the size of penultimate activations; None: there are none."""
        self.min_count = plan.min_count
        self.exact = ClassSums(plan.exact, plan.classes).to(device)
        self.sketched = ClassSums(plan.sketched, plan.classes, plan.width).to(device)
        self.points = None if dim is None else PointSums(plan.types, plan.classes, dim)
        self._rows: list[Tokens] = []

    def update(self, log_probs: Tensor, target: Tensor, unit: Tensor, hidden: Tensor | None = None) -> None:
        """Add examples.

        Args:
            log_probs: `[N, V]`.
            target: `[N]` int64.
            unit: `[N]` int64, the unit of resampling of each example.
            hidden: `[N, D]`, penultimate activations.

        Raises:
            ValueError: if log-probabilities are NaN.
        """
        if not len(target):
            return
        nll = -log_probs.gather(1, target[:, None]).squeeze(1)
        confidence, guess = log_probs.max(1)
        if not bool(confidence.isfinite().all()):
            raise ValueError("the model's probabilities are not numbers (NaN)")
        probs = log_probs.exp()
        entropy = torch.special.entr(probs).sum(1)
        columns = (unit, target, nll, confidence.exp(), guess == target, entropy)
        self._rows.append(Tokens(*(column.cpu() for column in columns)))
        for sums in (self.exact, self.sketched):
            if len(sums.types):
                sums.update(probs, target)
        if self.points is not None and hidden is not None:
            self.points.update(hidden, target)

    @property
    def tokens(self) -> Tokens:
        """All rows."""
        if len(self._rows) > 1:
            self._rows = [Tokens.joined(self._rows)]
        return self._rows[0]

    def by_unit(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return ascending units `[U]`, the log-probability of each unit `[U]` (float64, nats), and its size `[U]`."""
        return self.tokens.by_unit(-self.tokens.nll)

    def merge(self, other: Measurement) -> None:
        """Add the statistics of another shard."""
        self.exact.merge(other.exact)
        self.sketched.merge(other.sketched)
        if self.points is None:  # a shard without examples
            self.points = other.points
        elif other.points is not None:
            self.points.merge(other.points)
        self._rows += other._rows

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers to save, which `from_state` reads."""
        return {
            "min_count": self.min_count,
            "exact": self.exact.state(),
            "sketched": self.sketched.state(),
            "points": None if self.points is None else self.points.state(),
            "rows": [vars(self.tokens)] if self._rows else [],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Measurement:
        """Restore statistics from `state`."""
        found = cls.__new__(cls)
        found.min_count = state["min_count"]
        found.exact, found.sketched = (ClassSums.from_state(state[name]) for name in ("exact", "sketched"))
        found.points = None if state["points"] is None else PointSums.from_state(state["points"])
        found._rows = [Tokens(**row) for row in state["rows"]]
        return found
