"""A teacher or a student with its measurement, and derived quantities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .calibration import Quality, Reliability, quality, reliability
from .classes import Profiles, profiles, relation
from .measurement import Measurement
from .projection import spans_plane
from .stability import Stability, stability

#: Maximum number of points per class in the projection.
POINTS = 300


@dataclass(frozen=True)
class Cloud:
    """Penultimate activations of three classes in one split."""

    split: str
    points: Tensor  #: [N, D]
    member: Tensor  #: [N] int64, 0, 1 (similar to 0) or 2


@dataclass(frozen=True)
class Seen:
    """Penultimate activations at examples of a split."""

    split: str
    hidden: Tensor  #: [N, D]
    target: Tensor  #: [N] int64


@dataclass(frozen=True)
class System:
    """A model with its measurement. Derived quantities are computed once."""

    name: str
    measurement: Measurement
    smoothing: float | None = None
    why_no_points: str | None = None  #: why there are no penultimate activations
    why_no_clouds: str | None = None  #: why the activations cannot be projected
    templates: Tensor | None = None  #: [3, D], rows of the output matrix
    clouds: tuple[Cloud, ...] = ()
    looks: Tensor | None = None  #: [N, L], logit differences under dropout, for the mutual information
    taught_by: str | None = None  #: name of a student's teacher
    temperature: float | None = None
    setting: dict[str, Any] = field(default_factory=dict)  #: how it was taught, without teacher and temperature
    seed: float | None = None
    #: What teachers should have in common so that smoothing explains their differences; what is not known is left out.
    trained: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)  #: further facts, for the table of models
    path: str = ""  #: as given; the report, which may be published, does not have it

    @cached_property
    def stability(self) -> Stability:
        """The stability (equation 2) over all classes."""
        found = self.measurement
        return stability(found.exact, found.sketched, min_count=found.min_count)

    @cached_property
    def profiles(self) -> Profiles:
        """The profiles of classes with whole distributions."""
        return profiles(self.measurement.exact)

    @cached_property
    def relation(self) -> Tensor:
        """The relations of the same classes, `[K, K]`."""
        return relation(self.measurement.exact)

    @cached_property
    def quality(self) -> Quality:
        return quality(self.measurement.tokens)

    @cached_property
    def reliability(self) -> Reliability:
        """The reliability diagram."""
        rows = self.measurement.tokens
        return reliability(rows.confidence, rows.correct)

    @property
    def centres(self) -> Tensor | None:
        """The centres of classes with whole distributions, `[K, D]`."""
        points = self.measurement.points
        return None if points is None else points.centres()[: len(self.measurement.exact.types)]

    @property
    def spreads(self) -> Tensor | None:
        """The spreads of the same classes, `[K]`."""
        points = self.measurement.points
        return None if points is None else points.spreads()[: len(self.measurement.exact.types)]


def pictured(system: System, output: Tensor, three: tuple[int, int, int], seen: Sequence[Seen]) -> System:
    """Return the system with templates and clouds for the projection of three classes, as far as possible.

    Args:
        system: a system without them.
        output: output matrix, `[V, D]`.
        three: the classes.
        seen: activations at examples of the classes in each split.
    """
    kinds = torch.tensor(three)
    templates = output[kinds]
    if not spans_plane(templates):
        return replace(system, why_no_clouds="the rows of the output matrix of the three classes lie on one line")
    clouds = []
    for each in seen:
        member = (each.target[:, None] == kinds).int().argmax(1)
        first = torch.cat([(each.target == kind).nonzero().squeeze(1)[:POINTS] for kind in kinds])
        if len(member[first].unique()) == len(three):
            clouds.append(Cloud(each.split, each.hidden[first], member[first]))
    return replace(system, templates=templates, clouds=tuple(clouds))


def unlike(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Return in words where `trained` of two teachers differs; "" if they agree in all that is known."""
    return ", ".join(
        f"{name} ({value} and {other[name]})" for name, value in one.items() if other.get(name, value) != value
    )


def least_smoothed_first(systems: Sequence[System]) -> list[System]:
    """Sort systems by label smoothing; systems with unknown smoothing come last."""
    return sorted(systems, key=lambda system: (system.smoothing is None, system.smoothing or 0.0))


def same_examples(systems: list[System]) -> bool:
    """Return whether all systems were measured on the same examples in the same order, so that they can be paired."""
    first = systems[0].measurement.tokens
    return all(
        torch.equal(first.unit, rows.unit) and torch.equal(first.target, rows.target)
        for rows in (system.measurement.tokens for system in systems[1:])
    )
