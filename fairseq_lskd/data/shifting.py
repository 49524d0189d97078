"""Whether two sides with the same number of lines are out of step, by what is in the lines: their lengths and numbers.

A translation is about as long as its source, and has its numbers. Where a line was lost on one side, all lines after
it fit another line better than their own, until one is lost on the other side. Where neighbours are alike, as in text
that is sorted by length, this shows nothing.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass

import numpy as np

FURTHEST = 5  # lines by which a side may be shifted
LEAST = 20  # lines that are out of step, for it to be seen
#: By how much these lines have to fit others better, on average: in the logarithm of the ratio of lengths.
CLEAR = 0.1
#: And in standard errors: among millions of lines, something is always two or three above chance.
SIGMAS = 6.0
NUMBERS = 0.5  # what other numbers count, as the logarithm of a length ratio
_NUMBER = re.compile(r"\d+")
#: Between the digits of one number: 1,000.5 is 1.000,5 elsewhere.
_SEPARATOR = re.compile(r"(?<=\d)[.,'\u2019\u00a0\u202f ](?=\d)")


@dataclass(frozen=True)
class Shift:
    """Lines `first` to `last` (from 1) of the target fit the source's lines `by` further on better than their own."""

    first: int
    last: int
    by: int

    def words(self, source: str, target: str) -> str:
        """What is seen, and what it means."""
        lines = f"lines {self.first:,} to {self.last:,} of {target}"
        others = f"lines {self.first + self.by:,} to {self.last + self.by:,} of {source}"
        shorter, longer = (target, source) if self.by > 0 else (source, target)
        count = abs(self.by)
        return (
            f"by their lengths and numbers, {lines} belong to {others}: near line {self.first:,}, "
            f"{count} line{'s were' if count > 1 else ' was'} probably lost from {shorter}, or added to {longer}"
        )


class Steps:
    """Reads pairs of lines, in memory of 32 bytes a pair."""

    def __init__(self) -> None:
        self._lengths = array("d"), array("d")
        self._numbers = array("q"), array("q")

    def add(self, source: str, target: str | None) -> None:
        """The next pair; an empty target, or None, is of no source."""
        for side, text in enumerate((source, target or "")):
            self._lengths[side].append(len(text.strip()))
            digits = sorted(_NUMBER.findall(_SEPARATOR.sub("", text)))
            # Not Python's own hash, which is another one in each process; 0 is no number.
            self._numbers[side].append(int.from_bytes(" ".join(digits).encode()[:7], "big") + len(digits))

    def shift(self) -> Shift | None:
        """The lines that are most clearly out of step, if any are."""
        source, target = (np.frombuffer(side) for side in self._lengths)
        theirs, mine = (np.frombuffer(side, np.int64) for side in self._numbers)
        some = (source > 0) & (target > 0)
        if some.sum() < LEAST:
            return None
        # Not of their ratios, of which those of other lines may be skewed.
        usual = float(np.median(np.log(target[some])) - np.median(np.log(source[some])))
        own = _fit(source, theirs, target, mine, usual)
        best, found = 0.0, None
        for by in (step for distance in range(1, FURTHEST + 1) for step in (distance, -distance)):
            # Target i and source i + by.
            targets = slice(max(0, -by), len(target) - max(0, by))
            sources = slice(max(0, by), len(source) - max(0, -by))
            fits = _fit(source[sources], theirs[sources], target[targets], mine[targets], usual)
            gain = fits - own[targets]
            start, stop = _best_part(gain)
            part = gain[start:stop]
            total = float(part.sum())
            clear = len(part) >= LEAST and total >= CLEAR * len(part)
            if total > best and clear and total >= SIGMAS * float(np.sqrt((part**2).sum())):
                best, found = total, Shift(start + targets.start + 1, stop + targets.start, by)
        return found


def _fit(source: np.ndarray, theirs: np.ndarray, target: np.ndarray, mine: np.ndarray, usual: float) -> np.ndarray:
    """How well each target fits its source: 0 at best. Where either is empty there is nothing to be said: 0 too."""
    some = (source > 0) & (target > 0)
    ratio = np.log(np.where(some, target, 1.0)) - np.log(np.where(some, source, 1.0)) - usual
    return np.where(some, -np.minimum(np.abs(ratio), 1.0) - NUMBERS * (theirs != mine), 0.0)


def _best_part(gains: np.ndarray) -> tuple[int, int]:
    """Where the contiguous part with the largest sum begins and ends."""
    sums = np.concatenate([[0.0], np.cumsum(gains)])
    rises = sums - np.minimum.accumulate(sums)
    stop = int(np.argmax(rises))
    return int(np.argmin(sums[: stop + 1])), stop
