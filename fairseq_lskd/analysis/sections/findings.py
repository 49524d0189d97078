"""The data of all sections."""

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
    """Return the temperature of the second student minus that of the first."""
    return (pair[1].temperature or 0.0) - (pair[0].temperature or 0.0)


@dataclass(frozen=True)
class Findings:
    """Teachers, by ascending label smoothing, and students. Derived quantities are computed once."""

    teachers: Sequence[System]
    students: Sequence[System]
    symbols: Sequence[str]  #: names of the V classes
    split: str
    pairs: Pairs  #: a similar and a dissimilar class for each class with a whole distribution
    similarity: str  #: "confusion" or "embedding"
    triple: tuple[int, int, int] | None  #: two similar classes and a third, for the projection
    facts: dict[str, str] = field(default_factory=dict)  #: facts about the data and the call
    terms: Terms = TRANSLATION
    truth: torch.Tensor | None = None  #: [N] true log-probabilities by number of the sentence, nats

    @cached_property
    def comparisons(self) -> list[Comparison]:
        return [compare(self.teachers[0], other, self.pairs) for other in self.teachers[1:]]

    @cached_property
    def diffusions(self) -> dict[str, Diffusion]:
        """The diffusion from the lowest to the highest temperature of each teacher's students, as far as possible."""
        found = {}
        for teacher in self.teachers:
            pair = self.extremes(teacher.name)
            if pair and pair[0].centres is not None and pair[1].centres is not None:
                found[teacher.name] = diffusion(pair[0].centres, pair[1].centres, self.pairs)
        return found

    def extremes(self, teacher: str) -> tuple[System, System] | None:
        """Return a teacher's students of the lowest and highest temperature with equal settings, or None.

        If there are several settings, it is the one with the largest difference of temperatures.
        """
        own = [s for s in self.students if s.taught_by == teacher and s.temperature is not None]
        pairs = [(low, high) for low in own for high in own if low.setting == high.setting]
        low, high = max(pairs, key=_apart, default=(None, None))
        return None if low is None or high is None or _apart((low, high)) == 0 else (low, high)

    @cached_property
    def judged(self) -> list[list[Claim]]:
        return [claims(comparison, self.students, self.diffusions, self.terms) for comparison in self.comparisons]

    @cached_property
    def advice(self) -> Advice:
        return advise(self.teachers, self.comparisons, self.judged, self.students, self.terms)

    @cached_property
    def smoothings(self) -> list[float]:
        """The known label smoothings of the teachers, ascending, without duplicates."""
        return sorted({teacher.smoothing for teacher in self.teachers if teacher.smoothing is not None})

    @property
    def types(self) -> torch.Tensor:
        """The classes with whole distributions, `[K]`, the most frequent first."""
        return self.teachers[0].measurement.exact.types

    def name(self, kind: int) -> str:
        return self.symbols[kind]
