"""Checks for text that would silently give wrong scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

#: Share of the references that may occur in the training text.
MOST_OVERLAP = 0.01
#: Fewer lines than this say nothing about a model.
_FEW = 5
_MOST_EQUAL = 0.5  # share of the lines
_MOST_DEGENERATE = 0.1  # share of the lines
_LONG_ENOUGH, _MOST_OF_A_LINE = 8, 0.5  # tokens of a line, and the share that one of them may have


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


def equal_lines(lines: Sequence[str], references: Sequence[str]) -> tuple[str, int] | None:
    """Return the line that most translations are, with their number; None if they differ, or have equal references."""
    if not lines:
        return None
    ((line, count),) = Counter(lines).most_common(1)
    if count < max(_FEW, _MOST_EQUAL * len(lines)) or not line.strip():
        return None
    of_these = Counter(reference for each, reference in zip(lines, references, strict=True) if each == line)
    return None if of_these.most_common(1)[0][1] > count / 2 else (line, count)


def repetitive_lines(lines: Sequence[str], references: Sequence[str]) -> list[int]:
    """Return the numbers, from 1, of lines that mostly repeat one token, if their references do not; [] if few do."""
    found = [
        number
        for number, (line, reference) in enumerate(zip(lines, references, strict=True), 1)
        if _is_repetitive(line) and not _is_repetitive(reference)
    ]
    return found if len(found) >= max(_FEW, _MOST_DEGENERATE * len(lines)) else []


def _is_repetitive(line: str) -> bool:
    tokens = line.split()
    if len(tokens) == 1:  # a language without spaces
        tokens = list(line.strip())
    return len(tokens) >= _LONG_ENOUGH and Counter(tokens).most_common(1)[0][1] >= _MOST_OF_A_LINE * len(tokens)
