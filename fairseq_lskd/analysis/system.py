"""What is known of a teacher or a student, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from .calibration import Quality, Reliability, quality, reliability
from .classes import Profiles, profiles, relation
from .measurement import Measurement
from .stability import Stability, stability


@dataclass(frozen=True)
class Cloud:
    """Penultimate activations of three classes in one split."""

    split: str
    points: Tensor  #: [N, D]
    member: Tensor  #: [N] int64, 0, 1 (similar to 0) or 2


@dataclass(frozen=True)
class System:
    """A model with its measurement; what is derived is computed once."""

    name: str
    measurement: Measurement
    smoothing: float | None = None
    why_no_points: str | None = None
    templates: Tensor | None = None  #: [3, D], rows of the output matrix
    clouds: tuple[Cloud, ...] = ()
    looks: Tensor | None = None  #: [N, L], for the mutual information
    taught_by: str | None = None  #: of a student: its teacher's name
    temperature: float | None = None
    extra: dict[str, str] = field(default_factory=dict)  #: further facts, for the table of models

    @cached_property
    def stability(self) -> Stability:
        """Equation (2) over all classes."""
        found = self.measurement
        return stability(found.exact, found.sketched, min_count=found.min_count)

    @cached_property
    def profiles(self) -> Profiles:
        """Of the classes that are kept whole."""
        return profiles(self.measurement.exact)

    @cached_property
    def relation(self) -> Tensor:
        """`[K, K]`, of the same classes."""
        return relation(self.measurement.exact)

    @cached_property
    def quality(self) -> Quality:
        """NLL, accuracy, entropy, confidence and calibration error."""
        return quality(self.measurement.tokens)

    @cached_property
    def reliability(self) -> Reliability:
        """The reliability diagram."""
        rows = self.measurement.tokens
        return reliability(rows.confidence, rows.correct)

    @property
    def centres(self) -> Tensor | None:
        """`[K, D]`, of the classes that are kept whole."""
        points = self.measurement.points
        return None if points is None else points.centres()[: len(self.measurement.exact.types)]

    @property
    def spreads(self) -> Tensor | None:
        """`[K]`, of the same classes."""
        points = self.measurement.points
        return None if points is None else points.spreads()[: len(self.measurement.exact.types)]


def same_examples(systems: list[System]) -> bool:
    """Whether all were asked about the same examples in the same order: else nothing is paired."""
    first = systems[0].measurement.tokens
    return all(
        torch.equal(first.unit, rows.unit) and torch.equal(first.target, rows.target)
        for rows in (system.measurement.tokens for system in systems[1:])
    )
