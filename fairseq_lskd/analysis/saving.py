"""Write a section as files: Markdown, every table as CSV, every picture as PNG and SVG."""

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

#: Longer tables are only in their CSV files.
ROWS = 60


def write_files(section: Section, tables: Path, pictures: Path) -> None:
    """Write every table as CSV and every picture as PNG and SVG. Existing files are replaced."""
    for table in section.tables:
        write_csv(table, tables / f"{table.name}.csv")
    for picture in section.pictures:
        for suffix in ("png", "svg"):
            with write_beside(pictures / f"{picture.name}.{suffix}") as part:
                part.write_bytes(rendered(picture, suffix))


def write_csv(table: Table, path: Path) -> None:
    """Write a table as CSV, with eight significant digits (float32), and empty cells for None and NaN."""
    with write_beside(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(
            ["" if is_nothing(value) else f"{value:.8g}" if isinstance(value, float) else value for value in row]
            for row in table.rows
        )


def is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def rendered(picture: Picture, suffix: str) -> bytes:
    """Render a picture as `svg` or `png`. The same numbers give the same bytes."""
    stream = io.BytesIO()
    # Fixed ids and no date keep the bytes equal.
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": picture.name}):
        metadata = {"Date": None} if suffix == "svg" else {"Software": None}
        picture.figure.savefig(stream, format=suffix, dpi=150, metadata=metadata)
    return stream.getvalue()


def save(section: Section, folder: Path) -> Path:
    """Write a section to a folder, replacing existing files. Return the path of the page, README.md."""
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
    """Return the lines of a Markdown table, with four significant digits."""
    rows: list[Sequence[Any]] = [table.columns, ["---"] * len(table.columns), *table.rows]
    return [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]


def _cell(value: Any) -> str:
    if is_nothing(value):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
