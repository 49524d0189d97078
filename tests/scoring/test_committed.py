"""Committed tables and pictures are those of the rows beside them, as scripts/redraw.sh draws them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairseq_lskd.cli import main

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
ROWS = sorted([*RESULTS.glob("*.json"), *RESULTS.glob("*/results.json")])


@pytest.mark.parametrize("rows", ROWS, ids=lambda path: str(path.relative_to(RESULTS)))
def test_a_table_is_that_of_its_rows(rows: Path, tmp_path: Path) -> None:
    main(["table", str(rows), "--over-seeds", "--write", str(tmp_path / "t.md")])
    assert (tmp_path / "t.md").read_text(encoding="utf-8") == rows.with_suffix(".md").read_text(encoding="utf-8")
    assert rows.with_suffix(".svg").is_file()


@pytest.mark.parametrize(
    "rows", [path for path in ROWS if path.name == "results.json"], ids=lambda path: path.parent.name
)
def test_differences_and_curves_are_those_of_the_rows(rows: Path, tmp_path: Path) -> None:
    main(["table", str(rows), "--differences", "--write", str(tmp_path / "d.md")])
    assert (tmp_path / "d.md").read_text(encoding="utf-8") == (rows.parent / "differences.md").read_text(
        encoding="utf-8"
    )
    assert (rows.parent / "curves.csv").is_file() and (rows.parent / "curves.svg").is_file()


def test_there_are_rows() -> None:
    assert len(ROWS) >= 2
