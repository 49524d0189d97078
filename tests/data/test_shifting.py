"""Detecting shifted lines in a bitext."""

from __future__ import annotations

import random

import pytest

from fairseq_lskd.data import shifting
from fairseq_lskd.data.shifting import Alignment, Shift, Steps

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


def blocks(sources: list[str], targets: list[str], size: int) -> Alignment:
    """Return the check of pairs that were added in blocks."""
    found = Alignment("the source", "hyp")
    for start in range(0, len(sources), size):
        steps = Steps()
        for pair in zip(sources[start : start + size], targets[start : start + size], strict=True):
            steps.add(*pair)
        found.add(start + 1, steps)
    return found


class TestWindows:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shifting, "WINDOW", 300)

    @pytest.mark.parametrize("size", [100, 110, 1000])
    def test_a_shift_over_several_windows_is_one(self, size: int) -> None:
        sources, targets = corpus(1000)
        (said,) = blocks(sources, targets[:400] + targets[401:] + ["more"], size).shifts()
        words = said.split()
        first, last = (int(words[words.index(word) + 1]) for word in ("lines", "to"))
        assert abs(first - 401) <= 3 and last >= 985 and "1 line was probably lost from hyp" in said

    def test_windows_in_blocks_and_pair_by_pair_are_the_same(self) -> None:
        sources, targets = corpus(1000)
        targets = targets[:400] + targets[401:] + ["more"]
        pairs = zip(sources, targets, strict=True)
        assert Alignment.of("the source", "hyp", pairs).shifts() == blocks(sources, targets, 100).shifts()

    def test_shifts_in_several_places(self) -> None:
        sources, targets = corpus(3000)
        for start in range(0, 3000, 600):
            targets[start : start + 200] = [*targets[start + 1 : start + 200], "xx"]
        said = blocks(sources, targets, 100).shifts()
        assert len(said) == 4 and said[-1] == "hyp: 2 more such parts"

    def test_blocks_with_gaps_between_them_are_windows_of_their_own(self) -> None:
        sources, targets = corpus(1000)
        found = Alignment("the source", "hyp")
        for start in (0, 400, 800):
            steps = Steps()
            shifted = targets[start + 1 : start + 101] if start == 400 else targets[start : start + 100]
            for pair in zip(sources[start : start + 100], shifted, strict=True):
                steps.add(*pair)
            found.add(start + 1, steps)
        (said,) = found.shifts()
        assert "lines 40" in said and found.unrelated() == ""


@pytest.mark.parametrize("seed", range(3))
def test_loose_pairs_are_not_out_of_step(seed: int) -> None:
    sources, targets = corpus(3000, seed)
    chance = random.Random(seed)
    loose = [chance.choice(targets) if chance.random() < 0.3 else target for target in targets]
    found = Alignment.of("s", "t", zip(sources, loose, strict=True))
    assert found.shifts() == [] and found.unrelated() == ""


@pytest.mark.parametrize("count", [300, 3000])
def test_a_shuffled_side_is_unrelated(count: int) -> None:
    sources, targets = corpus(count)
    assert Alignment.of("s", "t", zip(sources, targets, strict=True)).unrelated() == ""
    random.Random(2).shuffle(targets)
    said = Alignment.of("s", "t", zip(sources, targets, strict=True)).unrelated()
    assert "of the lines of s and t are not correlated" in said and "another order" in said


@pytest.mark.parametrize("lines", [["same words"] * 500, [""] * 500, ["one"], []])
def test_lines_of_equal_length_are_not_called_unrelated(lines: list[str]) -> None:
    assert Alignment.of("s", "t", zip(lines, lines, strict=True)).unrelated() == ""
    varied = [f"{line}{'x' * (number % 7)}" for number, line in enumerate(lines)]
    assert Alignment.of("s", "t", zip(varied, lines, strict=True)).unrelated() == ""
