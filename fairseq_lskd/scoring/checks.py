"""What makes a score wrong without a word: text that is not what it should be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def empty_lines(lines: Sequence[str]) -> list[int]:
    """Numbers, from 1, of lines that say nothing."""
    return [number for number, line in enumerate(lines, 1) if not line.strip()]


def _normal(line: str) -> str:
    return " ".join(line.split()).casefold()


def overlap(references: Sequence[str], training: Iterable[str]) -> list[int]:
    """Numbers, from 1, of the references that are lines of the training text, but for case and white space."""
    wanted = {_normal(line) for line in references} - {""}
    known = wanted & {_normal(line) for line in training}
    return [number for number, line in enumerate(references, 1) if _normal(line) in known]
