"""All that the sections draw on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from ..advice import Advice, advise
from ..claims import Claim, claims
from ..classes import Pairs
from ..compare import Comparison, compare
from ..diffusion import Diffusion, diffusion
from ..system import System
from ..terms import TRANSLATION, Terms


@dataclass(frozen=True)
class Findings:
    """Teachers, the least smoothed first, and their students, with what follows; each thing computed once."""

    teachers: Sequence[System]
    students: Sequence[System]
    symbols: Sequence[str]  #: what each of the V classes is called
    split: str
    pairs: Pairs  #: a similar and a dissimilar class of each that is kept whole
    similarity: str  #: "confusion" or "embedding"
    triple: tuple[int, int, int] | None  #: two similar classes and another, for the projection
    facts: dict[str, str] = field(default_factory=dict)  #: of the data and the call
    terms: Terms = TRANSLATION
    truth: torch.Tensor | None = None  #: [N] log-probabilities that are true, by the number of the sentence, nats

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Of each other teacher with the first."""
        return [compare(self.teachers[0], other, self.pairs) for other in self.teachers[1:]]

    @cached_property
    def diffusions(self) -> dict[str, Diffusion]:
        """By teacher, of its students of the lowest and the highest temperature, where there are two."""
        found = {}
        for teacher in self.teachers:
            pair = self.extremes(teacher.name)
            if pair and pair[0].centres is not None and pair[1].centres is not None:
                found[teacher.name] = diffusion(pair[0].centres, pair[1].centres, self.pairs)
        return found

    def extremes(self, teacher: str) -> tuple[System, System] | None:
        """A teacher's students of the lowest and the highest temperature, if there are two."""
        own = [s for s in self.students if s.taught_by == teacher and s.temperature is not None]
        own.sort(key=lambda student: student.temperature or 0.0)
        if not own or own[0].temperature == own[-1].temperature:
            return None
        return own[0], own[-1]

    @cached_property
    def judged(self) -> list[list[Claim]]:
        """The claims of each comparison."""
        return [claims(comparison, self.students, self.diffusions, self.terms) for comparison in self.comparisons]

    @cached_property
    def advice(self) -> Advice:
        """Which teacher, at which temperature."""
        return advise(self.teachers, self.comparisons, self.judged, self.students, self.terms)

    @cached_property
    def smoothings(self) -> list[float]:
        """The label smoothings of the teachers, each once, ascending; none of those of which it is not known."""
        return sorted({teacher.smoothing for teacher in self.teachers if teacher.smoothing is not None})

    @property
    def types(self) -> torch.Tensor:
        """`[K]`, the classes that are kept whole, the most frequent first."""
        return self.teachers[0].measurement.exact.types

    def name(self, kind: int) -> str:
        """What a class is called."""
        return self.symbols[kind]
