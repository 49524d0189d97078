"""Where two sides of different length part, and why: an educated guess from the lengths of their lines.

Translations are about as long as each other. As far as that holds for lines of the same number, the sides are aligned;
counted from the end, the same shows where they are aligned again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..lines import open_text

LEAST = 20  # lines, for lengths to say anything
MOST_PIECES = 5
CLEARLY_JOINED = 0.4  # by how much more alike a line is to several that are joined than to one of them
CLEAR = 0.1  # by how much aligned lines have to be more alike than others, in the logarithm of their length ratio
#: What other tools take for the end of a line.
_SEPARATORS = re.compile(rb"\r(?!\n|$)|[\x0b\x0c\x1c-\x1e]|\xc2\x85|\xe2\x80[\xa8\xa9]")


@dataclass
class _Lengths:
    path: Path
    lengths: np.ndarray
    blank: int
    separators: int


def explain(first: Path, second: Path) -> str:
    """Where the two part and the likeliest cause, in a sentence or two; empty if there is nothing to be said."""
    sides = [_read(first), _read(second)]
    shorter, longer = sorted(sides, key=lambda side: len(side.lengths))
    extra = len(longer.lengths) - len(shorter.lengths)
    count = len(shorter.lengths)
    if not extra or count < LEAST:
        return ""
    if shorter.separators == extra:
        return (
            f"{shorter.path.name} has {extra:,} characters that other tools take for line ends (a carriage return, "
            "form feed, U+0085, U+2028 or the like): it was probably written by a tool that kept them, the other by "
            "one that broke lines there"
        )
    if longer.blank - shorter.blank == extra:
        return (
            f"{longer.path.name} has {extra:,} more blank lines than {shorter.path.name}: they were probably removed "
            "from one side only"
        )
    usual = float(np.median(np.log(shorter.lengths)) - np.median(np.log(longer.lengths)))
    forward = _likeness(shorter.lengths, longer.lengths[:count], usual)
    backward = _likeness(shorter.lengths, longer.lengths[extra:], usual)
    shift = count // 2
    chance = float(_likeness(shorter.lengths, np.roll(longer.lengths[:count], shift), usual).mean())
    edge = max(LEAST // 2, min(200, count // 4))
    aligned = max(float(forward[:edge].mean()), float(backward[-edge:].mean()))
    if aligned - chance < CLEAR:
        return "by their lengths, no lines of the two belong together: are these the two sides of one bitext?"
    middle = (aligned + chance) / 2
    start = _best_prefix(forward - middle)
    end = count - _best_prefix(backward[::-1] - middle)
    if start >= count - 2:
        return f"up to there the lines fit together: {shorter.path.name} was probably cut short (download, copy)"
    if end - start > max(20, count // 100):
        return (
            f"they part near line {start + 1:,} and fit together again, {extra:,} lines apart, only from line "
            f"{end + 1:,} of {shorter.path.name}: lines were probably added or lost in several places"
        )
    # One place. What the sides are alike in all, if lines were lost before each line of the shorter one.
    before, after = np.cumsum(np.append(0.0, forward)), np.cumsum(np.append(0.0, backward[::-1]))[::-1]
    lost = before + after
    place = int(np.argmax(lost))
    if extra <= MOST_PIECES:
        # And if, instead, one line of it is several lines of the other.
        sums = np.convolve(longer.lengths, np.ones(extra + 1), mode="valid")
        joined = before[:-1] + _likeness(shorter.lengths, sums, usual) + after[1:]
        at = int(np.argmax(joined))
        if joined[at] > lost[place] + CLEARLY_JOINED:
            lines = f"lines {at + 1:,} to {at + 1 + extra:,} of {longer.path.name}"
            return f"{lines} look like one sentence broken in pieces, line {at + 1:,} of {shorter.path.name}"
    return (
        f"they part near line {place + 1:,}: {extra:,} line{'s were' if extra > 1 else ' was'} probably lost from "
        f"{shorter.path.name} there, or added to {longer.path.name}"
    )


def _read(path: Path) -> _Lengths:
    lengths, blank, separators = [], 0, 0
    with open_text(path) as stream:
        for line in stream:
            text = line.strip()
            lengths.append(len(text) + 1)
            blank += not text
            separators += len(_SEPARATORS.findall(line))
    return _Lengths(path, np.array(lengths, dtype=np.float64), blank, separators)


def _likeness(a: np.ndarray, b: np.ndarray, usual: float) -> np.ndarray:
    """Of each pair of lines, how alike their lengths are: 0 for the usual log ratio, -2 at the least."""
    return -np.minimum(np.abs(np.log(a) - np.log(b) - usual), 2.0)


def _best_prefix(gains: np.ndarray) -> int:
    """The length of the beginning with the largest sum."""
    return int(np.argmax(np.concatenate([[0.0], np.cumsum(gains)])))
