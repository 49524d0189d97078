"""Minimum Bayes risk: of a sentence's candidates, those that are most like all the others.

The candidates are also the evidence: each stands for the share of the teacher's probability that its weight says. The
expected utility of a candidate is its mean utility with the candidates as references (Kumar & Byrne 2004; Eikema & Aziz
2020), itself included, as it is as likely to be right as its weight says. No reference of a human is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .utility import Utility
from .weights import softmax

#: Weights of the evidence: how often a text is among the candidates, and the softmax of the scores on top of that.
EVIDENCE = ("counts", "scores")
#: Decimals that expected utilities are compared by; what differs less is rounding.
DECIMALS = 9


@dataclass(frozen=True)
class Risk:
    """How the candidates of a sentence are ranked."""

    utility: Utility
    evidence: str = "counts"  #: one of `EVIDENCE`
    temperature: float = 1.0  #: of the softmax of `scores`
    aggregate: bool = False  #: whether all references are made one

    def rank(self, candidates: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[float]]:
        """A sentence's candidates from the highest to the lowest expected utility, each text once.

        Of equal utilities, to `DECIMALS`, the one that comes first in `candidates` comes first.

        Args:
            candidates: hypotheses as `nbest` has them, one or more, the one with the highest score first.

        Returns:
            The candidates, of equal texts the first, and their expected utilities, 0 to 100.
        """
        first: dict[str, int] = {}
        place = np.array([first.setdefault(candidate["text"], len(first)) for candidate in candidates])
        distinct = [candidates[i] for i in np.unique(place, return_index=True)[1]]
        weights = np.bincount(place, self._evidence(candidates))
        expected = np.round(self._expected(list(first), weights), DECIMALS)
        order = np.argsort(-expected, kind="stable")
        return [distinct[i] for i in order], expected[order].tolist()

    def _evidence(self, candidates: Sequence[dict[str, Any]]) -> np.ndarray:
        weights = np.array([candidate.get("count", 1) for candidate in candidates], np.float64)
        if self.evidence == "scores":
            weights *= softmax([candidate["score"] for candidate in candidates], self.temperature)
        return weights / weights.sum()

    def _expected(self, texts: list[str], weights: np.ndarray) -> np.ndarray:
        if self.aggregate:
            return self.utility.aggregated(texts, weights)
        # A sum, not a product of matrices, whose rounding depends on the machine's threads.
        return (self.utility.pairwise(texts) * weights).sum(axis=1)
