"""Tests of loading splits and finding sentences."""

from __future__ import annotations

import numpy as np
import pytest

from fairseq_lskd.errors import UserError
from fairseq_lskd.losses import count_types
from fairseq_lskd.measuring.splits import holding, load_split


def test_counts_are_of_target_tokens_without_padding(task) -> None:
    dictionary = task.target_dictionary
    found = count_types(task.dataset("valid").tgt, np.array([0, 3]), len(dictionary), dictionary.pad())
    tokens = [*task.dataset("valid").tgt[0].tolist(), *task.dataset("valid").tgt[3].tolist()]
    assert found.tolist() == [tokens.count(kind) for kind in range(len(dictionary))]
    assert found[dictionary.eos()] == 2


def test_holding_finds_enough_sentences_and_few_more(task) -> None:
    dataset, dictionary = task.dataset("train"), task.target_dictionary
    types = [dictionary.index("J"), dictionary.index("B")]
    found = holding(dataset, types, 6)
    occurs = [[int((dataset.tgt[i] == kind).sum()) for i in found] for kind in types]
    assert all(sum(each) >= 6 for each in occurs)
    assert all(any(each[i] for each in occurs) for i in range(len(found)))
    assert len(found) < 30 and sorted(set(found)) == found.tolist()
    everything = holding(dataset, types, 10**6)
    assert len(everything) == sum(bool(set(types) & set(row.tolist())) for row in (dataset.tgt[i] for i in range(60)))


def test_a_missing_split_is_an_error_that_lists_all_splits(task) -> None:
    with pytest.raises(UserError, match=r"--split test: .* de-en.* train, valid$"):
        load_split(task, "test")
