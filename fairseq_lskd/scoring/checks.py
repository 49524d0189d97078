"""Checks for text that would silently give wrong scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: Share of the references that may occur in the training text.
MOST_OVERLAP = 0.01


def empty_lines(lines: Sequence[str]) -> list[int]:
    """Return the numbers, from 1, of empty lines and lines of white space."""
    return [number for number, line in enumerate(lines, 1) if not line.strip()]


def _normal(line: str) -> str:
    return " ".join(line.split()).casefold()


def overlap(references: Sequence[str], training: Iterable[str]) -> list[int]:
    """Return the numbers, from 1, of references that occur in the training text, ignoring case and white space."""
    wanted = {_normal(line) for line in references} - {""}
    known = {each for line in training if (each := _normal(line)) in wanted}
    return [number for number, line in enumerate(references, 1) if _normal(line) in known]
