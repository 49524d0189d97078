"""Translations that say nothing about their sources."""

from __future__ import annotations

import pytest

from fairseq_lskd.data import degenerate as module
from fairseq_lskd.data.degenerate import Sampled, degenerate, equal_lines, repetitive_lines, stutters


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
    assert repetitive_lines(["the the the a the the b"] * 5, [plain] * 5) == []  # short
    assert repetitive_lines(["\u7684" * 9 + "\u4e00"] * 5, ["\u4e00\u4e8c\u4e09"] * 5) == [1, 2, 3, 4, 5]


def test_warnings_name_the_lines() -> None:
    loop, sources = "the " * 9, [f"word {number}" for number in range(10)]
    (same,) = degenerate("hyp", ["a b"] * 10, sources)
    assert same.startswith("hyp: 10 of 10 translations are the same, 'a b': the model may have learnt too little")
    (said,) = degenerate("hyp", [f"{loop}{n}" for n in range(5)], sources[:5], [12, 15, 17, 18, 19], "sampled ")
    assert said.startswith("hyp: 5 lines (12, 15, 17, 18, 19) of 5 sampled repeat one word") and "'the the" in said


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Unionssssss", True),
        ("▁Union s s s s s s", True),
        ("the Un ion ion ion ion ion ion", True),
        ("Unionsssss", False),  # five times
        ("10000000 ------- ....... 1212121212121212", False),
        ("the the the the the", False),
        ("hahahahahaha", True),  # such a source exempts its translation
        ("", False),
    ],
)
def test_letters_six_times_in_a_row_stutter(text: str, found: bool) -> None:
    assert stutters(text) is found
    lines = [f"{text} {number}" for number in range(5)]
    assert (repetitive_lines(lines, ["a source"] * 5) == [1, 2, 3, 4, 5]) is found
    assert repetitive_lines(lines, lines) == []


def sampled(lines: list[str], sources: list[str] | None = None) -> Sampled:
    found = Sampled()
    for number, line in enumerate(lines, 1):
        found.add(number, sources[number - 1] if sources else f"source {number}", line)
    return found


def test_good_translations_give_no_warning() -> None:
    assert sampled([f"line {number}" for number in range(100)]).warnings("hyp") == []
    assert sampled(["yes"] * 100, ["oui"] * 100).warnings("hyp") == []  # of one source
    assert sampled([]).warnings("hyp") == [] and not sampled([]).all_empty


def test_empty_translations() -> None:
    found = sampled([" "] * 3)
    assert found.all_empty and found.warnings("hyp") == [
        "hyp: 3 of 3 translations are empty: the model may have learnt too little"
    ]
    lines = [f"line {number}" for number in range(90)]
    few, many = sampled([*lines, *[""] * 4]), sampled([*lines, *[""] * 10])
    assert few.warnings("hyp") == [] and not many.all_empty
    assert many.warnings("hyp")[0].startswith("hyp: 10 of 100 translations are empty")


def test_a_sample_of_many_translations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 50)
    lines = ["the same"] * 600 + [f"line {number}" for number in range(100)] + ["the same"] * 300
    found = sampled(lines)
    (said,) = found.warnings("hyp")
    assert " of 50 sampled translations are the same, 'the same'" in said and found.count == 1000
