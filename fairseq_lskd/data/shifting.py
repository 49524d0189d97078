"""Detect shifted lines between two sides with the same number of lines, from lengths and numbers in the lines.

A translation is about as long as its source and has the same numbers. If one side lost a line, all lines after it fit
another line better than their own, until the other side lost one too. Shifts cannot be detected if neighbouring lines
are alike, as in text sorted by length.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass

import numpy as np

FURTHEST = 5  # largest shift in lines
LEAST = 20  # shifted lines, below which a shift is not reported
#: How much better shifted lines must fit, on average, in the logarithm of the length ratio.
CLEAR = 0.1
#: The same in standard errors. Among millions of lines, some runs are two or three above zero by chance.
SIGMAS = 6.0
NUMBERS = 0.5  # penalty for different numbers, in the logarithm of the length ratio
_NUMBER = re.compile(r"\d+")
#: Separators within a number: 1,000.5 is 1.000,5 in other languages.
_SEPARATOR = re.compile(r"(?<=\d)[.,'\u2019\u00a0\u202f ](?=\d)")


@dataclass(frozen=True)
class Shift:
    """A run of target lines, `first` to `last` (from 1), that match the source lines `by` lines further on."""

    first: int
    last: int
    by: int

    def words(self, source: str, target: str) -> str:
        """Describe the shift and its likely cause."""
        lines = f"lines {self.first:,} to {self.last:,} of {target}"
        others = f"lines {self.first + self.by:,} to {self.last + self.by:,} of {source}"
        shorter, longer = (target, source) if self.by > 0 else (source, target)
        count = abs(self.by)
        return (
            f"judging by lengths and numbers, {lines} belong to {others}: near line {self.first:,}, "
            f"{count} line{'s were' if count > 1 else ' was'} probably lost from {shorter}, or added to {longer}"
        )


class Steps:
    """Collects the lengths and numbers of pairs of lines, in 32 bytes per pair."""

    def __init__(self) -> None:
        self._lengths = array("d"), array("d")
        self._numbers = array("q"), array("q")

    def add(self, source: str, target: str | None) -> None:
        """Add the next pair. A pair with an empty target, or None, has no influence."""
        for side, text in enumerate((source, target or "")):
            self._lengths[side].append(len(text.strip()))
            digits = sorted(_NUMBER.findall(_SEPARATOR.sub("", text)))
            # Not Python's hash(), which differs between processes. 0 means no number.
            self._numbers[side].append(int.from_bytes(" ".join(digits).encode()[:7], "big") + len(digits))

    def shift(self) -> Shift | None:
        """Return the clearest shift, or None."""
        source, target = (np.frombuffer(side) for side in self._lengths)
        theirs, mine = (np.frombuffer(side, np.int64) for side in self._numbers)
        some = (source > 0) & (target > 0)
        if some.sum() < LEAST:
            return None
        # A median per side, because the ratios of misaligned lines may be skewed.
        usual = float(np.median(np.log(target[some])) - np.median(np.log(source[some])))
        own = _fit(source, theirs, target, mine, usual)
        best, found = 0.0, None
        for by in (step for distance in range(1, FURTHEST + 1) for step in (distance, -distance)):
            # Compare target i with source i + by.
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
    """Return how well each target fits its source: 0 at best, and 0 if either is empty."""
    some = (source > 0) & (target > 0)
    ratio = np.log(np.where(some, target, 1.0)) - np.log(np.where(some, source, 1.0)) - usual
    return np.where(some, -np.minimum(np.abs(ratio), 1.0) - NUMBERS * (theirs != mine), 0.0)


def _best_part(gains: np.ndarray) -> tuple[int, int]:
    """Return the start and end of the contiguous part with the largest sum."""
    sums = np.concatenate([[0.0], np.cumsum(gains)])
    rises = sums - np.minimum.accumulate(sums)
    stop = int(np.argmax(rises))
    return int(np.argmin(sums[: stop + 1])), stop
