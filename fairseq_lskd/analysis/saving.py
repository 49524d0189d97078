"""A section as files: its words and tables in Markdown, every table as CSV, every picture as PNG and SVG."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import write_beside
from .document import Section, Table

#: Longer tables are in their CSV file alone.
ROWS = 60


def save(section: Section, folder: Path) -> Path:
    """Write a section to a folder, over what was there of it.

    Returns:
        The path of the page, README.md.
    """
    for table in section.tables:
        with write_beside(folder / f"{table.name}.csv") as part, part.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(table.columns)
            writer.writerows([["" if cell is None else cell for cell in row] for row in table.rows])
    for picture in section.pictures:
        import matplotlib

        # The same picture is the same file.
        with matplotlib.rc_context({"svg.hashsalt": picture.name}):
            for suffix, options in ((".png", {"dpi": 150}), (".svg", {"metadata": {"Date": None}})):
                with write_beside(folder / f"{picture.name}{suffix}") as part:
                    picture.figure.savefig(part, format=suffix[1:], **options)
    lines = [f"# {section.title}", "", *(f"- {said}" for said in section.words), ""]
    for picture in section.pictures:
        lines += [
            f"![{picture.caption}]({picture.name}.png)",
            "",
            f"{picture.caption} Numbers: {picture.table}.csv.",
            "",
        ]
    for table in section.tables:
        lines += [f"{table.caption} ({table.name}.csv)", "", *(markdown(table) if len(table.rows) <= ROWS else ()), ""]
    page = folder / "README.md"
    with write_beside(page) as part:
        part.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return page


def markdown(table: Table) -> list[str]:
    """The lines of a table, numbers to four digits."""
    rows: list[Sequence[Any]] = [table.columns, ["---"] * len(table.columns), *table.rows]
    return [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
