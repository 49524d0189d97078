"""chrF and sentence BLEU of all pairs, compared with sacreBLEU."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from fairseq_lskd.lines import read_lines
from fairseq_lskd.sequences.utility import ChrF, SentenceBleu, Utility, make_utility

CORPORA = Path(__file__).resolve().parents[2].parent / "shared" / "corpora"
HOSTILE = [
    *("", " ", "\u3000\n", "a", "ab", "a b", "A b", "a b c d e", "a b c d f", "aaaaaaaaaaaa", "a a a a a a a"),
    *(
        "日本語です。",
        "日本 語です",
        "\U0001f469\u200d\U0001f469\u200d\U0001f467 !",
        "e\u0301té",
        "été",
        "\u200b",
        "\x00",
    ),
    *("\u05e9\u05dc\u05d5\u05dd", "1,234.5 (x)", "don't", "…", "a\u00a0b", "\u2028x", "x" * 60, "word " * 20),
]
REAL = [
    "A man in a blue shirt is standing on a ladder cleaning a window.",
    "A man in blue shirt stands on a ladder and cleans a window.",
    "The man is on the ladder, cleaning the windows.",
    "Two dogs run.",
    "A man in a blue shirt is standing on a ladder cleaning a window.",
]
CASES = {"chrf": (ChrF(), CHRF()), "sentence-bleu": (SentenceBleu("en"), BLEU(effective_order=True))}


def slowly(metric: Any, texts: list[str]) -> list[list[float]]:
    """Score the pairs one by one with sacreBLEU."""
    return [[metric.sentence_score(hypothesis, [reference]).score for reference in texts] for hypothesis in texts]


@pytest.mark.parametrize(("utility", "metric"), CASES.values(), ids=CASES)
class TestPairwise:
    @pytest.mark.parametrize("texts", [REAL, HOSTILE, ["only one"]], ids=["real", "hostile", "one"])
    def test_scores_equal_those_of_sacrebleu_exactly(self, utility: Utility, metric: Any, texts: list[str]) -> None:
        assert utility.pairwise(texts).tolist() == slowly(metric, texts)

    @given(texts=st.lists(st.text(alphabet="ab .,\u3042\U0001f600\t", max_size=30) | st.text(max_size=20), max_size=6))
    def test_scores_of_any_texts(self, utility: Utility, metric: Any, texts: list[str]) -> None:
        assert utility.pairwise(["", *texts]).tolist() == slowly(metric, ["", *texts])

    def test_scores_of_real_text(self, utility: Utility, metric: Any) -> None:
        corpus = CORPORA / "europarl-en-fr" / "test.fr.gz"
        if not corpus.is_file():
            pytest.skip("no corpora beside the checkout")
        texts = [line for line, _ in zip(read_lines(corpus), range(12), strict=False)]
        assert utility.pairwise(texts).tolist() == slowly(metric, texts)

    def test_aggregation_with_all_weight_on_one_text_uses_it_as_the_reference(
        self, utility: Utility, metric: Any
    ) -> None:
        weights = np.array([0.0, 0.0, 1.0, 0.0, 0.0])
        assert utility.aggregated(REAL, weights).tolist() == pytest.approx(utility.pairwise(REAL)[:, 2].tolist())

    def test_the_signature_is_that_of_sacrebleu(self, utility: Utility, metric: Any) -> None:
        metric.sentence_score("a", ["a"])
        assert utility.signature == str(metric.get_signature())


def test_chinese_is_tokenised_into_characters() -> None:
    texts = ["我们去北京", "我们在北京", "北京"]
    metric = BLEU(effective_order=True, tokenize="zh")
    assert make_utility("sentence-bleu", "zh").pairwise(texts).tolist() == slowly(metric, texts)
    assert "tok:zh" in make_utility("sentence-bleu", "zh").signature


def mean_counts(texts: list[str], weights: list[float], order: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for text, weight in zip(texts, weights, strict=True):
        for i in range(len(text) - order + 1):
            found[text[i : i + order]] += weight
    return found


def test_aggregated_chrf_by_hand() -> None:
    """ "ab" and the mean of "ab" and "ac": 1.5 of 2 unigrams and 0.5 of 1 bigrams match, so P = R = 0.625."""
    found = ChrF().aggregated(["ab", "ac"], np.array([0.5, 0.5]))
    assert found.tolist() == pytest.approx([62.5, 62.5])
    # With weights 1/3 and 2/3, 1 + 1/3 of 2 unigrams and 1/3 of 1 bigrams match.
    found = ChrF().aggregated(["ab", "ac"], np.array([1 / 3, 2 / 3]))
    assert found.tolist() == pytest.approx([100 * (2 / 3 + 1 / 3) / 2, 100 * (5 / 6 + 2 / 3) / 2])


def test_aggregated_chrf_equals_chrf_with_mean_counts() -> None:
    texts, weights = [text.replace(" ", "") for text in REAL], [0.1, 0.2, 0.3, 0.15, 0.25]
    wanted = []
    for text in texts:
        precision = recall = 0.0
        for order in range(1, 7):
            mine, mean = mean_counts([text], [1.0], order), mean_counts(texts, weights, order)
            match = sum(min(count, mean[gram]) for gram, count in mine.items())
            precision += match / mine.total() / 6
            recall += match / mean.total() / 6
        wanted.append(100 * 5 * precision * recall / (4 * precision + recall))
    assert ChrF().aggregated(REAL, np.array(weights)).tolist() == pytest.approx(wanted, rel=1e-12)


def test_aggregated_bleu_by_hand() -> None:
    """ "a b" and the mean of "a b" and "a c": 1.5 of 2 unigrams, 0.5 of 1 bigrams, no penalty: sqrt(0.75 * 0.5)."""
    found = SentenceBleu("en").aggregated(["a b", "a c"], np.array([0.5, 0.5]))
    assert found.tolist() == pytest.approx([100 * 0.375**0.5] * 2)
