"""Tests of writing a section to files."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from fairseq_lskd.analysis.document import Picture, Section, Table
from fairseq_lskd.analysis.saving import markdown, save
from fairseq_lskd.analysis.style import figure


def example() -> Section:
    drawn = figure(3, 2)
    drawn.subplots().plot([1, 2], [3, 4], label="a")
    short = Table("short", "A short one.", ["name", "value"], [("a|b", 1.23456789), ("c", None), ("d", math.nan)])
    long = Table("long", "A long one.", ["n"], [(i,) for i in range(100)])
    return Section("A title", ["Some words."], [short, long], [Picture("drawn", "A line.", drawn, "long")])


def test_everything_is_written(tmp_path: Path) -> None:
    page = save(example(), tmp_path / "out")
    text = page.read_text()
    assert text.startswith("# A title\n\n- Some words.\n") and "![A line.](drawn.png)" in text
    assert (
        "| a\\|b | 1.235 |\n| c |  |\n| d |  |\n" in text and "A long one. (long.csv)" in text and "| 99 |" not in text
    )
    with (tmp_path / "out" / "short.csv").open() as stream:
        assert list(csv.reader(stream)) == [["name", "value"], ["a|b", "1.2345679"], ["c", ""], ["d", ""]]
    assert len((tmp_path / "out" / "long.csv").read_text().splitlines()) == 101
    assert (tmp_path / "out" / "drawn.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("README.md", "drawn.png", "drawn.svg", "long.csv", "short.csv")
    ]


def test_the_same_picture_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(example(), tmp_path / name)
    assert (tmp_path / "a" / "drawn.svg").read_bytes() == (tmp_path / "b" / "drawn.svg").read_bytes()


def test_a_table_in_markdown() -> None:
    assert markdown(Table("t", "", ["x"], [(0.000123456,), (12345,)])) == [
        "| x |",
        "| --- |",
        "| 0.0001235 |",
        "| 12345 |",
    ]
