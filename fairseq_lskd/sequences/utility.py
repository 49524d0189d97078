"""chrF and sentence BLEU between all pairs of a few hundred texts, equal to sacreBLEU's scores to the last bit.

sacreBLEU counts the n-grams of both texts again for each pair. This module counts the n-grams of each text once and
computes the statistics of all pairs by a matrix product (`ngrams`), which is many times faster. The formulas follow
sacreBLEU operation by operation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ..data.writing_systems import available_tokeniser
from .ngrams import count_ngrams

UTILITIES = ("sentence-bleu", "chrf")


class Utility(Protocol):
    """The similarity of a hypothesis to a reference, 0 to 100."""

    @property
    def signature(self) -> str:
        """The signature of the sacreBLEU metric."""

    def pairwise(self, texts: Sequence[str]) -> np.ndarray:
        """Score each text as a hypothesis (rows) against each text as its reference (columns), [N, N] float64."""

    def aggregated(self, texts: Sequence[str], weights: np.ndarray) -> np.ndarray:
        """Score each text against one aggregated reference, [N] float64.

        The n-gram counts of the reference are the weighted means of the texts' counts. The score approximates the
        mean of `pairwise` over references at a cost that is linear in the number of texts (DeNero et al. 2009 for
        BLEU, Vamvas & Sennrich 2024 for chrF).

        Args:
            weights: weight of each text in the mean, [N] float64, summing to 1.
        """


class ChrF:
    """sacreBLEU's `CHRF()`: character n-grams up to order 6, beta 2, white space removed."""

    def __init__(self) -> None:
        self._metric = make_metric("chrf")

    @property
    def signature(self) -> str:
        return signature(self._metric)

    def pairwise(self, texts: Sequence[str]) -> np.ndarray:
        score = _FScore(self._metric.beta)
        for counts in self._counts(texts):
            totals = counts.totals.astype(np.float64)
            score.add(counts.matches(), totals[:, None], totals[None, :])
        return score.value()

    def aggregated(self, texts: Sequence[str], weights: np.ndarray) -> np.ndarray:
        score = _FScore(self._metric.beta)
        for counts in self._counts(texts):
            totals = counts.totals.astype(np.float64)
            score.add(counts.mean_matches(weights), totals, np.array((totals * weights).sum()))
        return score.value()

    def _counts(self, texts: Sequence[str]) -> Any:
        lines = ("".join(text.split()).encode("utf-32-le", "surrogatepass") for text in texts)
        return count_ngrams(
            [np.frombuffer(line, np.uint32).astype(np.int64) for line in lines], self._metric.char_order
        )


class _FScore:
    """chrF of many pairs. Precision and recall are averaged over the n-gram orders that both texts have."""

    def __init__(self, beta: int):
        self._factor = beta**2
        self._precision: Any = 0.0
        self._recall: Any = 0.0
        self._orders: Any = 0

    def add(self, matches: np.ndarray, hypothesis: np.ndarray, reference: np.ndarray) -> None:
        """Add the statistics of one order: the matches, and the n-grams of hypothesis and reference."""
        both = (hypothesis > 0) & (reference > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            self._precision = self._precision + np.where(both, matches / hypothesis, 0.0)
            self._recall = self._recall + np.where(both, matches / reference, 0.0)
        self._orders = self._orders + both

    def value(self) -> np.ndarray:
        orders = np.maximum(self._orders, 1)
        precision, recall = self._precision / orders, self._recall / orders
        score = (1 + self._factor) * precision * recall
        below = self._factor * precision + recall
        return 100 * np.divide(score, below, out=np.zeros_like(score), where=below > 0)


class SentenceBleu:
    """sacreBLEU's `BLEU(effective_order=True)` with its tokeniser for `language`."""

    def __init__(self, language: str = ""):
        self._metric = make_metric("sentence-bleu", language)

    @property
    def signature(self) -> str:
        return signature(self._metric)

    def pairwise(self, texts: Sequence[str]) -> np.ndarray:
        sequences = self._words(texts)
        lengths = np.array([len(sequence) for sequence in sequences], np.float64)
        counted = list(count_ngrams(sequences, self._metric.max_ngram_order))
        matches = [counts.matches().astype(np.float64) for counts in counted]
        totals = [counts.totals.astype(np.float64)[:, None] for counts in counted]
        return _bleu(matches, totals, lengths[:, None], lengths[None, :])

    def aggregated(self, texts: Sequence[str], weights: np.ndarray) -> np.ndarray:
        sequences = self._words(texts)
        lengths = np.array([len(sequence) for sequence in sequences], np.float64)
        counted = list(count_ngrams(sequences, self._metric.max_ngram_order))
        matches = [counts.mean_matches(weights) for counts in counted]
        totals = [counts.totals.astype(np.float64) for counts in counted]
        return _bleu(matches, totals, lengths, np.array((lengths * weights).sum()))

    def _words(self, texts: Sequence[str]) -> list[np.ndarray]:
        numbers: dict[str, int] = {}
        return [
            np.array(
                [numbers.setdefault(word, len(numbers)) for word in self._metric.tokenizer(text.rstrip()).split()],
                np.int64,
            )
            for text in texts
        ]


# Python's math functions, as in sacreBLEU. NumPy's may differ in the last bit.
_LOG, _EXP = np.frompyfunc(math.log, 1, 1), np.frompyfunc(math.exp, 1, 1)
_SUM = np.frompyfunc(lambda *values: sum(values), 4, 1)


def _bleu(
    matches: Sequence[np.ndarray], totals: Sequence[np.ndarray], length: np.ndarray, reference: np.ndarray
) -> np.ndarray:
    """BLEU with exponential smoothing and effective order, as `BLEU.compute_bleu` computes it."""
    shape = matches[0].shape
    orders, smooth = np.zeros(shape), np.ones(shape)
    logs = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for match, total in zip(matches, totals, strict=True):
            exists = np.broadcast_to(total > 0, shape)
            missed = exists & (match == 0)
            smooth = np.where(missed, 2 * smooth, smooth)
            precision = np.where(missed, 100.0 / (smooth * total), 100.0 * match / total)
            logs.append(_LOG(np.where(exists, precision, 1.0)))
            orders += exists
        exponent = np.asarray(_SUM(*logs), np.float64) / np.maximum(orders, 1)
        short = (length < reference) & (length > 0)
        penalty = np.where(short, np.asarray(_EXP(np.where(short, 1 - reference / length, 0.0)), np.float64), 1.0)
    score = penalty * np.asarray(_EXP(exponent), np.float64)
    return np.where(sum(matches) > 0, score, 0.0)


def make_metric(name: str, language: str = "") -> Any:
    """Return the sacreBLEU metric called `name` (one of `UTILITIES`). `language` selects BLEU's tokeniser."""
    from sacrebleu.metrics import BLEU, CHRF

    return CHRF() if name == "chrf" else BLEU(effective_order=True, tokenize=available_tokeniser(language)[0])


def make_utility(name: str, language: str = "") -> Utility:
    """Return the metric of `make_metric` in its form for all pairs of texts."""
    return ChrF() if name == "chrf" else SentenceBleu(language)


def signature(metric: Any) -> str:
    """Return the sacreBLEU signature of a metric with one reference."""
    metric.sentence_score("a", ["a"])  # the metric learns the number of references when it first scores
    return str(metric.get_signature())
