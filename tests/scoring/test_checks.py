"""Text that would make a score wrong is recognised."""

from __future__ import annotations

import pytest

from fairseq_lskd.scoring.checks import empty_lines, looks_tokenised, overlap


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("▁A ▁man .", "SentencePiece"),
        ("a m@@ an in black", "subword-nmt"),
        ("it was cut o@@", "subword-nmt"),
        ("well @-@ known", "Moses"),
        ("don &apos;t", "Moses"),
    ],
)
def test_one_trace_of_pieces_or_tokens_is_enough(line: str, what: str) -> None:
    (found,) = looks_tokenised([*["A sentence."] * 500, line])
    assert found.startswith("1 line (501) with ") and what in found


def test_text_is_text() -> None:
    assert looks_tokenised(["A man.", "me@@example.com", "AT&T", "@-@", "5 . 5", "A slip .", *["x."] * 20]) == []
    assert looks_tokenised(["Ein Satz wie dieser.", "Noch einer .", *["x."] * 20]) == []


@pytest.mark.parametrize(("tokenised", "of", "seen"), [(1, 3, 0), (2, 3, 1), (9, 100, 0), (10, 100, 1), (99, 5000, 0)])
def test_periods_by_their_share(tokenised: int, of: int, seen: int) -> None:
    found = looks_tokenised([*["a ."] * tokenised, *["a."] * (of - tokenised)])
    assert len(found) == seen
    assert not looks_tokenised([]) and len(looks_tokenised(["a ."] * 100 + ["a."] * 9000)) == 1


def test_empty_lines() -> None:
    assert empty_lines(["", "a", " \t", "b"]) == [1, 3]


def test_overlap_ignores_case_and_white_space_only() -> None:
    assert overlap(["A dog", "a cat.", "", "the  end "], ["a  DOG", "a cat", "", "The end"]) == [1, 4]
