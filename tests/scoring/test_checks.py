"""Tests of the checks for text that would give wrong scores."""

from __future__ import annotations

from fairseq_lskd.scoring.checks import empty_lines, overlap


def test_empty_lines() -> None:
    assert empty_lines(["", "a", " \t", "b"]) == [1, 3]


def test_overlap_ignores_case_and_white_space_only() -> None:
    assert overlap(["A dog", "a cat.", "", "the  end "], ["a  DOG", "a cat", "", "The end"]) == [1, 4]
