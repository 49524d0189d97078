"""Detecting shifted lines in a bitext."""

from __future__ import annotations

import random

import pytest

from fairseq_lskd.data.shifting import Shift, Steps

WORDS = ("a", "of", "the", "house", "garden", "1984", "government", "yesterday", "in", "und", "17", "completely", "it")


def corpus(count: int, seed: int = 1) -> tuple[list[str], list[str]]:
    """Sources of any length, and translations about 1.5 times as long with the same numbers."""
    chance = random.Random(seed)
    sources = [" ".join(chance.choices(WORDS, k=chance.randint(3, 25))) for _ in range(count)]
    targets = []
    for line in sources:
        words = [word if word.isdigit() else "x" * max(1, int(1.5 * len(word))) for word in line.split()]
        targets.append(" ".join(words + ["yy"] * chance.randint(0, 3)))
    return sources, targets


def shift(sources: list[str], targets: list[str]) -> Shift | None:
    steps = Steps()
    for source, target in zip(sources, targets, strict=True):
        steps.add(source, target)
    return steps.shift()


@pytest.mark.parametrize("seed", range(5))
def test_an_aligned_bitext_has_no_shift(seed: int) -> None:
    assert shift(*corpus(3000, seed)) is None


@pytest.mark.parametrize(("by", "place"), [(1, 0), (1, 400), (3, 400), (5, 700)])
def test_lines_lost_from_the_target_are_found(by: int, place: int) -> None:
    sources, targets = corpus(1000)
    found = shift(sources, targets[:place] + targets[place + by :] + ["more"] * by)
    assert found is not None and found.by == by
    assert abs(found.first - (place + 1)) <= 3 and found.last >= 1000 - by - 3


def test_a_line_lost_from_the_source() -> None:
    sources, targets = corpus(1000)
    found = shift(sources[:500] + sources[501:], targets[:-1])
    assert found is not None and found.by == -1 and abs(found.first - 502) <= 3
    said = found.words("the source", "hyp")
    assert f"lines {found.first} to {found.last} of hyp" in said and "1 line was probably lost from the source" in said


def test_a_shift_that_ends_within_the_text() -> None:
    sources, targets = corpus(1000)
    moved = [*targets[:300], *targets[301:500], "xx xx", *targets[500:]]
    found = shift(sources, moved)
    assert found is not None and found.by == 1
    assert abs(found.first - 301) <= 3 and abs(found.last - 499) <= 3


def test_numbers_with_other_separators_are_equal() -> None:
    steps = Steps()
    steps.add("it costs 1,000.50 on the 2nd", "es kostet 1.000,50 am 2.")
    steps.add("one", "eins")
    theirs, mine = steps._numbers
    assert theirs == mine and theirs[0] and not theirs[1]


@pytest.mark.parametrize("lines", [["same words"] * 500, [""] * 500, ["a b", ""] * 250, ["one"], []])
def test_identical_lines_show_no_shift(lines: list[str]) -> None:
    assert shift(lines, lines) is None and shift(lines[1:], lines[:-1]) is None


def test_text_sorted_by_length_shows_no_shift() -> None:
    pairs = sorted(zip(*corpus(3000), strict=True), key=lambda pair: len(pair[0]))
    assert shift([source for source, _ in pairs], [target for _, target in pairs]) is None


def test_unrelated_texts_show_no_shift() -> None:
    assert shift(corpus(3000, 1)[0], corpus(3000, 2)[1]) is None
