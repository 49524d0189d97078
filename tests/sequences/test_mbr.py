"""Minimum Bayes risk: the order of candidates by expected utility."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics import CHRF

from fairseq_lskd.sequences.mbr import Risk
from fairseq_lskd.sequences.utility import ChrF, SentenceBleu


def candidates(*texts: str, scores: list[float] | None = None) -> list[dict[str, Any]]:
    scores = scores or [-float(i) for i in range(len(texts))]
    return [
        {"text": text, "tokens": text, "score": score, "length": 1} for text, score in zip(texts, scores, strict=True)
    ]


class Table:
    """A utility with given scores."""

    signature = "given"

    def __init__(self, rows: list[list[float]]):
        self.rows = np.array(rows)

    def pairwise(self, texts: Any) -> np.ndarray:
        return self.rows

    def aggregated(self, texts: Any, weights: np.ndarray) -> np.ndarray:
        return self.rows @ weights


SAMPLES = ["the dog runs", "a dog ran", "the dog ran", "the cat", "the dog runs", "a dog runs"]


def test_expected_utility_is_the_mean_over_all_samples() -> None:
    """Each sample is a reference, so a text that was drawn twice counts twice."""
    ranked, utilities = Risk(ChrF()).rank(candidates(*SAMPLES))
    metric = CHRF()
    wanted = {
        text: np.mean([metric.sentence_score(text, [reference]).score for reference in SAMPLES]) for text in SAMPLES
    }
    order = sorted(wanted, key=lambda text: -wanted[text])
    assert [each["text"] for each in ranked] == order and len(order) == 5
    assert utilities == pytest.approx([wanted[text] for text in order], abs=1e-8)


@pytest.mark.parametrize("evidence", ["counts", "scores"])
def test_a_count_equals_repetitions(evidence: str) -> None:
    repeated = candidates("the dog runs", "the dog runs", "a dog ran", "the cat", scores=[-1, -1, -1.5, -2])
    counted = [repeated[0] | {"count": 2}, *repeated[2:]]
    ranked, utilities = Risk(ChrF(), evidence).rank(counted)
    wanted, wanted_utilities = Risk(ChrF(), evidence).rank(repeated)
    assert [each["text"] for each in ranked] == [each["text"] for each in wanted]
    assert utilities == pytest.approx(wanted_utilities, abs=1e-8)


def test_the_first_of_equal_texts_is_kept() -> None:
    ranked, _ = Risk(ChrF()).rank(candidates("a", "b", "a", scores=[-1, -2, -3]))
    assert [(each["text"], each["score"]) for each in ranked] == [("a", -1), ("b", -2)]


@pytest.mark.parametrize("utility", [ChrF(), SentenceBleu()])
def test_the_higher_score_breaks_a_tie_of_utilities(utility: Any) -> None:
    ranked, utilities = Risk(utility).rank(candidates("dog", "cat", "hen"))
    assert [each["text"] for each in ranked] == ["dog", "cat", "hen"] and len(set(utilities)) == 1


def test_rounding_errors_do_not_break_ties() -> None:
    rows = [[0.1 + 0.2, 0.3, 0.3], [0.3, 0.3, 0.3 + 1e-13], [0.3, 0.1 + 0.2, 0.3]]
    assert [each["text"] for each in Risk(Table(rows)).rank(candidates("a", "b", "c"))[0]] == ["a", "b", "c"]


def test_scores_weight_the_pseudo_references_with_evidence_scores() -> None:
    """By hand: softmax([0, -ln 3]) = [3/4, 1/4]. The utility of b is 3/4 * 8 + 1/4 * 4 = 7, and that of a 3/4 * 10."""
    rows = [[10.0, 0.0], [8.0, 4.0]]
    given = candidates("a", "b", scores=[0.0, -float(np.log(3))])
    ranked, utilities = Risk(Table(rows), "scores").rank(given)
    assert [each["text"] for each in ranked] == ["a", "b"] and utilities == pytest.approx([7.5, 7.0])
    ranked, utilities = Risk(Table(rows)).rank(given)
    assert [each["text"] for each in ranked] == ["b", "a"] and utilities == [6.0, 5.0]
    # T = 1/2 squares the weights, and they become 9/10 and 1/10.
    assert Risk(Table(rows), "scores", 0.5).rank(given)[1] == pytest.approx([9.0, 7.6])


def test_aggregate_uses_one_mean_reference() -> None:
    ranked, utilities = Risk(ChrF(), aggregate=True).rank(candidates(*SAMPLES))
    weights = np.array([2, 1, 1, 1, 1]) / 6
    found = ChrF().aggregated(["the dog runs", "a dog ran", "the dog ran", "the cat", "a dog runs"], weights)
    assert utilities == pytest.approx(sorted(found, reverse=True))
    assert ranked[0]["text"] == "the dog runs"


def test_one_candidate_is_the_best() -> None:
    assert Risk(ChrF()).rank(candidates("x"))[1] == [100.0]
