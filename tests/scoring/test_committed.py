"""Test that committed tables and plots are up to date with their rows (scripts/redraw.sh writes them)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fairseq_lskd.cli import main

pytest.importorskip("matplotlib")

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
ROWS = sorted([*RESULTS.glob("*.json"), *RESULTS.glob("*/results.json")])


def check_picture(drawn: Path, committed: Path) -> None:
    """Check that two plots are byte-identical if they were drawn by the same version of Matplotlib."""
    found, wanted = (path.read_text(encoding="utf-8") for path in (drawn, committed))
    versions = [re.findall(r"Matplotlib v[\d.]+", text) for text in (found, wanted)]
    assert all(versions)
    if versions[0] != versions[1]:
        pytest.skip(f"{committed.name} was drawn by {versions[1][0]}, found {versions[0][0]}")
    assert found == wanted, f"{committed} is out of date: run scripts/redraw.sh"


@pytest.mark.parametrize("rows", ROWS, ids=lambda path: str(path.relative_to(RESULTS)))
def test_tables_and_plots_are_up_to_date(rows: Path, tmp_path: Path) -> None:
    title = rows.parent.name if rows.name == "results.json" else rows.stem
    words = ["--over-seeds", "--title", title, "--write", str(tmp_path / "t.md"), "--plot", str(tmp_path / "t.svg")]
    main(["table", str(rows), *words])
    assert (tmp_path / "t.md").read_text(encoding="utf-8") == rows.with_suffix(".md").read_text(encoding="utf-8")
    check_picture(tmp_path / "t.svg", rows.with_suffix(".svg"))


@pytest.mark.parametrize(
    "rows", [path for path in ROWS if path.name == "results.json"], ids=lambda path: path.parent.name
)
def test_differences_and_curves_are_up_to_date(rows: Path, tmp_path: Path) -> None:
    main(["table", str(rows), "--differences", "--write", str(tmp_path / "d.md")])
    assert (tmp_path / "d.md").read_text(encoding="utf-8") == (rows.parent / "differences.md").read_text(
        encoding="utf-8"
    )
    main(["curves", "--from", str(rows.parent / "curves.csv"), "--plot", str(tmp_path / "c.svg")])
    check_picture(tmp_path / "c.svg", rows.parent / "curves.svg")


def test_there_are_rows() -> None:
    assert len(ROWS) >= 2
