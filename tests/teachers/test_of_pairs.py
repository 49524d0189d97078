"""The names of pairs in --teacher-path, and the removal of language tokens from a batch."""

from __future__ import annotations

import pytest
import torch

from fairseq_lskd.errors import UserError
from fairseq_lskd.teachers.languages import Marks
from fairseq_lskd.teachers.of_pairs import by_pair, paths_in, without_marks

PAD, EOS, DE, EN = 1, 2, 8, 9


def test_paths_of_pairs() -> None:
    value = "de-en=a,b=c/A.pt:B.pt,zh_CN-en=none,fr-en=C.pt"
    assert by_pair(value) == {"de-en": "a,b=c/A.pt:B.pt", "zh_CN-en": "none", "fr-en": "C.pt"}
    assert paths_in(value) == ["a,b=c/A.pt", "B.pt", "C.pt"]


@pytest.mark.parametrize("value", [None, "A.pt", "A.pt:B.pt", "./de-en=1.pt", "runs/de-en=1/a.pt", "none"])
def test_paths_without_pairs(value: str | None) -> None:
    assert by_pair(value) is None
    assert value is None or paths_in(value) == value.split(":")


@pytest.mark.parametrize("value", ["de-en=A.pt,de-en=B.pt", "de-en="])
def test_mistakes(value: str) -> None:
    with pytest.raises(UserError, match=r"--teacher-cache.*de-en"):
        by_pair(value, "--teacher-cache")


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("replacing", [True, False])
def test_removing_tokens_is_the_inverse_of_adding_them(left: bool, replacing: bool) -> None:
    rows = [[4, 5, 6, EOS], [7, EOS], [5, 4, EOS]]
    padded = [[PAD] * (4 - len(row)) + row if left else row + [PAD] * (4 - len(row)) for row in rows]
    given = {
        "src_tokens": torch.tensor(padded),
        "src_lengths": torch.tensor([4, 2, 3]),
        "prev_output_tokens": torch.tensor([[EOS, 4, 5], [EOS, 6, PAD], [EOS, PAD, PAD]]),
    }
    marks = Marks(DE, EN, replacing, 8, PAD)
    marked = marks.read(given)
    assert (marked["src_tokens"] == DE).sum() == 3 and (marked["prev_output_tokens"] == EN).sum() == 3
    found = without_marks(marks, marked, EOS)
    assert found.keys() == given.keys() and all(torch.equal(found[name], given[name]) for name in given)
    # The sentences of one pair in a wider batch.
    some = without_marks(marks, {name: tensor[1:] for name, tensor in marked.items()}, EOS)
    assert some["src_tokens"].tolist() == ([[PAD, 7, EOS], [5, 4, EOS]] if left else [[7, EOS, PAD], [5, 4, EOS]])
    assert some["prev_output_tokens"].tolist() == [[EOS, 6], [EOS, PAD]]


def test_a_student_without_language_tokens_is_read_as_it_is() -> None:
    given = {
        "src_tokens": torch.tensor([[4, EOS]]),
        "src_lengths": torch.tensor([2]),
        "prev_output_tokens": torch.tensor([[EOS, 4]]),
    }
    found = without_marks(Marks(None, None, False, 8, PAD), given, EOS)
    assert all(torch.equal(found[name], given[name]) for name in given)
