"""Guess from the lengths of lines where two sides with different numbers of lines lose their alignment, and why.

A translation is about as long as its source. As long as that holds for lines with the same number, the sides are
aligned. Counted from the end, it shows where they are aligned again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..lines import open_text

LEAST = 20  # lines, below which lengths are no evidence
MOST_PIECES = 5  # largest difference in lines that one split sentence may explain
CLEARLY_JOINED = 0.4  # how much better a line must fit several joined lines than one of them
CLEAR = 0.1  # how much better aligned lines must fit than random ones, in the logarithm of the length ratio
#: Characters that other tools take for line ends.
_SEPARATORS = re.compile(rb"\r(?!\n|$)|[\x0b\x0c\x1c-\x1e]|\xc2\x85|\xe2\x80[\xa8\xa9]")


@dataclass
class _Lengths:
    path: Path
    lengths: np.ndarray
    blank: int
    separators: int


def explain(first: Path, second: Path) -> str:
    """Return where the sides lose their alignment and the most likely cause, in words; "" if nothing can be said."""
    sides = [_read(first), _read(second)]
    shorter, longer = sorted(sides, key=lambda side: len(side.lengths))
    extra = len(longer.lengths) - len(shorter.lengths)
    count = len(shorter.lengths)
    if not extra or count < LEAST:
        return ""
    if shorter.separators == extra:
        return (
            f"{shorter.path.name} has {extra:,} characters that other tools take for line ends (a carriage return, "
            f"form feed, U+0085, U+2028 or the like): probably a tool that breaks lines there wrote {longer.path.name}"
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
        return "the lengths of their lines match nowhere: are these the two sides of one bitext?"
    middle = (aligned + chance) / 2
    start = _best_prefix(forward - middle)
    end = count - _best_prefix(backward[::-1] - middle)
    if start >= count - 2:
        return f"up to there the lines match: {shorter.path.name} was probably truncated (by a download or a copy)"
    if end - start > max(20, count // 100):
        return (
            f"the lines match up to about line {start + 1:,}, and again, {extra:,} lines apart, from line "
            f"{end + 1:,} of {shorter.path.name}: lines were probably added or lost in several places"
        )
    # One place: the likeness of the sides if lines were lost before line i of the shorter one, for every i.
    before, after = np.cumsum(np.append(0.0, forward)), np.cumsum(np.append(0.0, backward[::-1]))[::-1]
    lost = before + after
    place = int(np.argmax(lost))
    if extra <= MOST_PIECES:
        # Or one line of the shorter side is several lines of the longer one.
        sums = np.convolve(longer.lengths, np.ones(extra + 1), mode="valid")
        joined = before[:-1] + _likeness(shorter.lengths, sums, usual) + after[1:]
        at = int(np.argmax(joined))
        if joined[at] > lost[place] + CLEARLY_JOINED:
            lines = f"lines {at + 1:,} to {at + 1 + extra:,} of {longer.path.name}"
            return f"{lines} look like one sentence that was split, line {at + 1:,} of {shorter.path.name}"
    return (
        f"the lines match up to about line {place + 1:,}: {extra:,} line{'s were' if extra > 1 else ' was'} probably "
        f"lost from {shorter.path.name} there, or added to {longer.path.name}"
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
    """Return the likeness of each pair of lengths: 0 at the usual log ratio, at least -2."""
    return -np.minimum(np.abs(np.log(a) - np.log(b) - usual), 2.0)


def _best_prefix(gains: np.ndarray) -> int:
    """Return the length of the prefix with the largest sum."""
    return int(np.argmax(np.concatenate([[0.0], np.cumsum(gains)])))
