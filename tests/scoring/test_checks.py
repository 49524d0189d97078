"""Tests of the checks for text that would give wrong scores."""

from __future__ import annotations

from fairseq_lskd.scoring.checks import empty_lines, equal_lines, overlap, repetitive_lines


def test_empty_lines() -> None:
    assert empty_lines(["", "a", " \t", "b"]) == [1, 3]


def test_overlap_ignores_case_and_white_space_only() -> None:
    assert overlap(["A dog", "a cat.", "", "the  end "], ["a  DOG", "a cat", "", "The end"]) == [1, 4]


def test_equal_lines() -> None:
    references = [f"line {i}" for i in range(10)]
    assert equal_lines(["a"] * 5 + references[5:], references) == ("a", 5)
    assert equal_lines(["a"] * 4 + references[4:], references) is None  # less than half
    assert equal_lines(["a"] * 4, references[:4]) is None  # too few
    assert equal_lines([""] * 10, references) is None  # which another check finds
    assert equal_lines(["b"] * 10, ["a"] * 6 + references[6:]) is None
    assert equal_lines([], []) is None


def test_repetitive_lines() -> None:
    loop, plain = "the " * 5 + "cat sat on a mat", "the cat saw the dog and the bird on the mat"
    assert repetitive_lines([loop, plain] * 5, [plain] * 10) == [1, 3, 5, 7, 9]
    assert repetitive_lines([loop] * 4 + [plain] * 6, [plain] * 10) == []  # too few
    assert repetitive_lines([loop] * 5 + [plain] * 46, [plain] * 51) == []  # a share below a tenth
    assert repetitive_lines([loop] * 5, [loop] * 5) == []
    assert repetitive_lines(["ha ha ha ha ha ha ha"] * 5, [plain] * 5) == []  # short
    assert repetitive_lines(["\u7684" * 9 + "\u4e00"] * 5, ["\u4e00\u4e8c\u4e09"] * 5) == [1, 2, 3, 4, 5]
