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


def _apart(pair: tuple[System, System]) -> float:
    """By how much the second student's temperature is the higher."""
    return (pair[1].temperature or 0.0) - (pair[0].temperature or 0.0)


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
        """A teacher's students of the lowest and the highest temperature, taught alike otherwise, if there are two.

        Those that are furthest apart, of several ways to teach.
        """
        own = [s for s in self.students if s.taught_by == teacher and s.temperature is not None]
        pairs = [(low, high) for low in own for high in own if low.setting == high.setting]
        low, high = max(pairs, key=_apart, default=(None, None))
        return None if low is None or high is None or _apart((low, high)) == 0 else (low, high)

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
