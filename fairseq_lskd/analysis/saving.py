"""A section as files: its words and tables in Markdown, every table as CSV, every picture as PNG and SVG."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

from ..files import write_beside
from .document import Picture, Section, Table
from .style import STYLE

#: Longer tables are in their CSV file alone.
ROWS = 60


def write_files(section: Section, tables: Path, pictures: Path) -> None:
    """Write every table as CSV and every picture as PNG and SVG to these folders, over what was there."""
    for table in section.tables:
        write_csv(table, tables / f"{table.name}.csv")
    for picture in section.pictures:
        for suffix in ("png", "svg"):
            with write_beside(pictures / f"{picture.name}.{suffix}") as part:
                part.write_bytes(rendered(picture, suffix))


def write_csv(table: Table, path: Path) -> None:
    """Nothing where there is no number, and eight digits of a number, which is what float32 has to say."""
    with write_beside(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(
            ["" if is_nothing(value) else f"{value:.8g}" if isinstance(value, float) else value for value in row]
            for row in table.rows
        )


def is_nothing(value: Any) -> bool:
    """Whether a cell has nothing in it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def rendered(picture: Picture, suffix: str) -> bytes:
    """A picture as `svg` or `png`: the same numbers make the same bytes."""
    stream = io.BytesIO()
    # Without a date, and with fixed ids.
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": picture.name}):
        metadata = {"Date": None} if suffix == "svg" else {"Software": None}
        picture.figure.savefig(stream, format=suffix, dpi=150, metadata=metadata)
    return stream.getvalue()


def save(section: Section, folder: Path) -> Path:
    """Write a section to a folder, over what was there of it.

    Returns:
        The path of the page, README.md.
    """
    write_files(section, folder, folder)
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
    if is_nothing(value):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
