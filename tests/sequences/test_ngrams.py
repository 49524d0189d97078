"""The n-gram counts of several sequences, compared with `collections.Counter`."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from fairseq_lskd.sequences import ngrams
from fairseq_lskd.sequences.ngrams import count_ngrams

#: Sequences with overlaps and repetitions, empty ones, ones shorter than the order, and the largest code point.
SEQUENCES = [[1, 2, 1, 2, 1, 2], [], [7], [2, 1, 2, 1], [0x10FFFF, 0, 0x10FFFF], [1] * 9, [1, 1, 1]]


def counters(order: int) -> list[Counter[tuple[int, ...]]]:
    """Count the n-grams of each sequence one by one."""
    return [Counter(tuple(s[i : i + order]) for i in range(len(s) - order + 1)) for s in SEQUENCES]


@pytest.fixture(params=[2**22, 7, 1])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Block sizes that hold all n-grams, a few, or a single one."""
    monkeypatch.setattr(ngrams, "BLOCK", request.param)
    return request.param


def test_totals_and_matches_equal_those_of_counters(block: int) -> None:
    found = list(count_ngrams([np.array(each, np.int64) for each in SEQUENCES], 4))
    assert len(found) == 4
    for order, counts in enumerate(found, 1):
        wanted = counters(order)
        assert counts.totals.tolist() == [each.total() for each in wanted]
        assert counts.matches().tolist() == [[(a & b).total() for b in wanted] for a in wanted]


def test_mean_matches_equal_those_of_weighted_counters() -> None:
    weights = np.arange(1, len(SEQUENCES) + 1) / 28
    for order, counts in enumerate(count_ngrams([np.array(each, np.int64) for each in SEQUENCES], 3), 1):
        wanted = counters(order)
        mean = {
            gram: sum(w * c[gram] for w, c in zip(weights, wanted, strict=True)) for each in wanted for gram in each
        }
        matches = [sum(min(n, mean[gram]) for gram, n in each.items()) for each in wanted]
        assert counts.mean_matches(weights).tolist() == pytest.approx(matches, rel=1e-12)


def test_empty_sequences_have_no_ngrams() -> None:
    for counts in count_ngrams([np.zeros(0, np.int64)] * 2, 2):
        assert counts.totals.tolist() == [0, 0] and counts.matches().tolist() == [[0, 0], [0, 0]]
        assert counts.mean_matches(np.array([0.5, 0.5])).tolist() == [0, 0]
