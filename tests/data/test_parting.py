"""Where two sides of different length lose their alignment, in bitexts of real lengths that were damaged on purpose."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fairseq_lskd.data.parting import explain

COUNT = 2000


@pytest.fixture
def sides() -> tuple[list[str], list[str]]:
    """Lengths like those of sentences and their translations: log-normal, with a correlation of 0.95."""
    rng = random.Random(3)
    source, target = [], []
    for number in range(COUNT):
        length = rng.lognormvariate(4.6, 0.7)
        source.append(f"{number} " + "s" * int(length))
        target.append(f"{number} " + "t" * int(1.1 * length * rng.lognormvariate(0, 0.15)))
    return source, target


def said(folder: Path, source: list[str], target: list[str]) -> str:
    for name, lines in (("a.en", source), ("a.de", target)):
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    return explain(folder / "a.en", folder / "a.de")


def place(message: str) -> int:
    return int(message.partition("about line ")[2].partition(":")[0].replace(",", ""))


@pytest.mark.parametrize("lost", [0, 1, 57, 1000, 1990])
@pytest.mark.parametrize("extra", [1, 4])
def test_lost_lines_are_found(tmp_path: Path, sides, lost: int, extra: int) -> None:
    source, target = sides
    message = said(tmp_path, source, target[:lost] + target[lost + extra :])
    assert "lost from a.de" in message or "sentence that was split" in message or "truncated" in message
    if lost < 1990:
        assert abs(place(message) - (lost + 1)) <= 12


def test_a_truncated_side(tmp_path: Path, sides) -> None:
    source, target = sides
    message = said(tmp_path, source[:-300], target)
    assert "a.en was probably truncated" in message


def test_a_sentence_that_was_split(tmp_path: Path, sides) -> None:
    source, target = sides
    target[700] = "t" * 400
    source[700] = "s" * 380
    message = said(tmp_path, source, [*target[:700], "t" * 210, "t" * 190, *target[701:]])
    assert "lines 701 to 702 of a.de look like one sentence that was split, line 701 of a.en" in message


def test_lines_lost_in_several_places(tmp_path: Path, sides) -> None:
    source, target = sides
    del target[1500], target[300]
    message = said(tmp_path, source, target)
    assert "in several places" in message and "2 lines apart" in message
    first = int(message.partition("about line ")[2].partition(" ")[0].replace(",", "").rstrip(","))
    assert abs(first - 301) <= 12


def test_blank_lines_that_only_one_side_has_lost(tmp_path: Path, sides) -> None:
    source, target = sides
    source[10] = source[500] = ""
    message = said(tmp_path, source, [line for i, line in enumerate(target) if i not in (10, 500)])
    assert message.startswith("a.en has 2 more blank lines than a.de: they were probably removed from one side only")


def test_a_character_that_other_tools_take_for_a_line_end(tmp_path: Path, sides) -> None:
    source, target = sides
    source[40] = source[40] + "\u2028" + "s" * 30
    source[90] = source[90] + "\u0085" + "s" * 30
    broken = [*target[:41], "t" * 30, *target[41:91], "t" * 30, *target[91:]]
    assert said(tmp_path, source, broken).startswith("a.en has 2 characters that other tools take for line ends")


def test_texts_that_do_not_belong_together(tmp_path: Path, sides) -> None:
    source, target = sides
    random.Random(1).shuffle(target)
    assert "match nowhere" in said(tmp_path, source, target[:-3])


def test_no_explanation_for_few_lines_or_matching_sides(tmp_path: Path, sides) -> None:
    source, target = sides
    assert said(tmp_path, source[:5], target[:4]) == ""
    assert said(tmp_path, source, target) == ""
