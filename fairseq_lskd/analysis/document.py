"""The content of a report: text, tables and plots, before they become a page or files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """A table; `name` is the stem of its CSV file."""

    name: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Picture:
    """A plot; `name` is the stem of its files, `table` the name of the table with its numbers."""

    name: str
    caption: str
    figure: Figure
    table: str


@dataclass(frozen=True)
class Section:
    """A section: paragraphs, then tables and plots."""

    title: str
    words: Sequence[str]
    tables: Sequence[Table] = field(default_factory=tuple)
    pictures: Sequence[Picture] = field(default_factory=tuple)
