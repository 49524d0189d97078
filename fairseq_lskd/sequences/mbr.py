"""Minimum Bayes risk: rank the candidates of a sentence by their expected utility.

The candidates also serve as pseudo-references. The expected utility of a candidate is its weighted mean utility against
all candidates, itself included (Kumar & Byrne 2004; Eikema & Aziz 2020). The weights estimate the teacher's
distribution. No human reference is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .utility import Utility
from .weights import softmax

#: Weights of pseudo-references: the count of each candidate, alone or times the softmax of its score.
EVIDENCE = ("counts", "scores")
#: Decimals for comparing expected utilities. Smaller differences are rounding errors.
DECIMALS = 9


@dataclass(frozen=True)
class Risk:
    """Ranks the candidates of a sentence."""

    utility: Utility | None  #: None: the candidates have their "utilities" (`outside_utilities`)
    evidence: str = "counts"  #: one of `EVIDENCE`
    temperature: float = 1.0  #: temperature of the softmax, with `scores`
    aggregate: bool = False  #: compare with one aggregated reference

    def rank(self, candidates: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[float]]:
        """Sort candidates by expected utility, highest first. Duplicates are merged.

        Candidates with equal utilities (to `DECIMALS`) keep their order.

        Args:
            candidates: one or more hypotheses of `nbest`, highest score first.

        Returns:
            The candidates (the first of each text) and their expected utilities: 0 to 100, or in the unit of
            utilities from outside.
        """
        first: dict[str, int] = {}
        place = np.array([first.setdefault(candidate["text"], len(first)) for candidate in candidates])
        distinct = [candidates[i] for i in np.unique(place, return_index=True)[1]]
        weights = np.bincount(place, self._evidence(candidates))
        expected = np.round(self._expected(distinct, weights), DECIMALS)
        order = np.argsort(-expected, kind="stable")
        return [distinct[i] for i in order], expected[order].tolist()

    def _evidence(self, candidates: Sequence[dict[str, Any]]) -> np.ndarray:
        weights = np.array([candidate.get("count", 1) for candidate in candidates], np.float64)
        if self.evidence == "scores":
            weights *= softmax([candidate["score"] for candidate in candidates], self.temperature)
        return weights / weights.sum()

    def _expected(self, candidates: Sequence[dict[str, Any]], weights: np.ndarray) -> np.ndarray:
        texts = [candidate["text"] for candidate in candidates]
        if self.utility is None:
            pairwise = np.array([[a["utilities"][b["place"]] for b in candidates] for a in candidates], np.float64)
        elif self.aggregate:
            return self.utility.aggregated(texts, weights)
        else:
            pairwise = self.utility.pairwise(texts)
        # A sum instead of a matrix product, as the rounding of a product depends on the number of threads.
        return (pairwise * weights).sum(axis=1)
