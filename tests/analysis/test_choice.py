"""Tests of the choice of classes."""

from __future__ import annotations

import pytest
import torch

from fairseq_lskd.analysis.choice import Choice, distinct, propose_three
from fairseq_lskd.analysis.sums import ClassSums
from fairseq_lskd.analysis.terms import CLASSIFIER, TRANSLATION
from fairseq_lskd.errors import UserError


def test_repeated_names_get_numbers() -> None:
    assert distinct(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]
    assert distinct(["a", "a", "a (2)"]) == ["a", "a (2)", "a (2) (2)"]
    assert distinct(["a (2)", "a", "a"]) == ["a (2)", "a", "a (3)"]
    assert Choice(names="x,y").called(["a", "a"]) == ["x", "y"] and Choice().called(["a", "a"]) == ["a", "a (2)"]


def test_options_are_named_like_their_flags() -> None:
    assert Choice(min_count=3).options() == {
        "split": "valid",
        "train-split": "train",
        "names": None,
        "min-count": 3,
        "types": None,
        "similar-by": "confusion",
        "memory": 1.0,
    }


def sums(counts: list[int]) -> ClassSums:
    found = ClassSums(torch.arange(len(counts)), len(counts))
    target = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    found.update(torch.nn.functional.one_hot(target, len(counts)).double(), target)
    return found


def test_frequent_classes_come_before_more_similar_ones() -> None:
    similarity = torch.tensor([[0, 9, 3, 1.0], [9, 0, 2, 1], [3, 2, 0, 1], [1, 1, 1, 0]])
    assert propose_three(similarity, sums([40, 40, 40, 40])) == (0, 1, 3)
    assert propose_three(similarity, sums([40, 5, 40, 40])) == (0, 2, 3)
    assert propose_three(similarity, sums([12, 12, 12, 5])) == (0, 1, 2)
    assert propose_three(similarity, sums([40, 40, 40, 40]), left_out=(0,)) == (1, 2, 3)
    assert propose_three(similarity, sums([40, 40, 1, 1])) is None


def test_too_few_classes_and_too_little_memory() -> None:
    counts = torch.tensor([9, 9, 9, 1])
    assert Choice().plan(counts, 2, "here", CLASSIFIER).types.tolist() == [0, 1, 2]
    for least, terms, said in (
        (10, CLASSIFIER, r"--min-count 10: no class occurs that often in here \(maximum: 9 times\)"),
        (10, TRANSLATION, "--min-count 10: no token type occurs that often in here"),
    ):
        with pytest.raises(UserError, match=said):
            Choice(min_count=least).plan(counts, 1, "here", terms)
    with pytest.raises(UserError, match=r"2 classes occur that often in here .* at least three"):
        Choice().plan(counts[:2], 1, "here", CLASSIFIER)
    with pytest.raises(UserError, match=r"--memory 1e-09: 3 of 4 classes do not fit .* Raise --memory"):
        Choice(memory=1e-9).plan(counts, 1, "here", CLASSIFIER)


def test_types_option() -> None:
    counts, number = torch.tensor([9, 9, 9, 1]), {"a": 0, "b": 1, "c": 2, "d": 3}
    assert Choice().three(number.get, counts, "is unknown") is None
    assert Choice(types="c,a,b").three(number.get, counts, "is unknown") == (2, 0, 1)
    with pytest.raises(UserError) as caught:
        Choice(types="a,d,x").three(number.get, counts, "is unknown")
    assert str(caught.value) == ("--types a,d,x: 'd' occurs 1 times in valid, fewer than --min-count 5; 'x' is unknown")


def test_missing_embeddings() -> None:
    Choice().check_outputs([("m", "it is an ensemble")])
    with pytest.raises(UserError, match=r"m has no output embeddings \(it is an ensemble\).* confusion"):
        Choice(similar_by="embedding").check_outputs([("m", "it is an ensemble")])
