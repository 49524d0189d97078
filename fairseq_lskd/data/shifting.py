"""Detect lines out of step between two sides with the same number of lines, from lengths and numbers in the lines.

A translation is about as long as its source and has the same numbers. If one side lost a line, all lines after it fit
another line better than their own, until the other side lost one too. Shifts cannot be detected if neighbouring lines
are alike, as in text sorted by length. Sides in another order have lengths that are not correlated.
"""

from __future__ import annotations

import math
import re
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import UserError
from ..lines import read_lines
from .bitext import Bitext

FURTHEST = 5  # largest shift in lines
LEAST = 20  # shifted lines, below which a shift is not reported
#: How much better shifted lines must fit, on average, in the logarithm of the length ratio.
CLEAR = 0.1
#: The same in standard errors. Among millions of lines, some runs are two or three above zero by chance.
SIGMAS = 6.0
NUMBERS = 0.5  # penalty for different numbers, in the logarithm of the length ratio
WINDOW = 100_000  # pairs that `Alignment` holds in memory
#: Fewest pairs whose lengths say something about their order.
LEAST_PAIRS = 100
#: The correlation of the lengths' logarithms below which sides are unrelated. Corpora have 0.87 to 0.97.
UNRELATED = 0.1
SHOWN = 3  # shifts in a message
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

    def __len__(self) -> int:
        return len(self._lengths[0])

    def add(self, source: str | None, target: str | None) -> None:
        """Add the next pair. A pair with an empty side, or None, has no influence."""
        for side, text in enumerate((source or "", target or "")):
            self._lengths[side].append(len(text.strip()))
            digits = _NUMBER.findall(text)
            if len(digits) > 1:
                digits = sorted(_NUMBER.findall(_SEPARATOR.sub("", text)))
            # Not Python's hash(), which differs between processes. 0 means no number.
            number = int.from_bytes(" ".join(digits).encode()[:7], "big") + len(digits) if digits else 0
            self._numbers[side].append(number)

    def extend(self, more: Steps) -> None:
        """Add the pairs of another instance."""
        for side in (0, 1):
            self._lengths[side].extend(more._lengths[side])
            self._numbers[side].extend(more._numbers[side])

    def sums(self) -> np.ndarray:
        """Return sums from which correlations are computed: of 1, x, y, x x, y y and x y, of logarithms of lengths."""
        source, target = (np.frombuffer(side) for side in self._lengths)
        some = (source > 0) & (target > 0)
        x, y = np.log(source[some]), np.log(target[some])
        return np.array([len(x), x.sum(), y.sum(), x @ x, y @ y, x @ y])

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


def refusal(shifts: Sequence[str]) -> str:
    """Return the message that refuses a bitext for these shifts."""
    listed = "\n  ".join(["the two sides of the bitext are out of step:", *shifts])
    return (
        f"{listed}\nMost of these pairs are no translations of each other. Restore the missing lines, or create the "
        "files again. If the pairs are right, --allow-shifted turns this into a warning"
    )


class Alignment:
    """Checks a bitext of any size in windows of `WINDOW` pairs, while it is read.

    Args:
        source: name of the source side, for messages.
        target: name of the target side.
    """

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = source, target
        self._window = Steps()
        self._first = 1  # number of the window's first line
        self._sums = np.zeros(6)
        self._shifts: list[Shift] = []

    @classmethod
    def of(cls, source: str, target: str, pairs: Iterable[tuple[str, str]]) -> Alignment:
        """Return the check of these pairs."""
        found = cls(source, target)
        for pair in pairs:
            found.add_pair(*pair)
        return found

    def add_pair(self, source: str | None, target: str | None) -> None:
        """Add the next pair. One with an empty side, or None, has no influence."""
        self._window.add(source, target)
        if len(self._window) >= WINDOW:
            self._close()

    def add(self, first: int, more: Steps) -> None:
        """Add pairs. `first` is the number of the first one's line, from 1. A gap ends the window."""
        if first != self._first + len(self._window):
            self._close()
            self._first = first
        self._window.extend(more)
        if len(self._window) >= WINDOW:
            self._close()

    def shifts(self) -> list[str]:
        """Describe the shifts, the first few in words, and how many more there are. All pairs must have been added."""
        self._close()
        words = [shift.words(self.source, self.target) for shift in self._shifts[:SHOWN]]
        if (more := len(self._shifts) - SHOWN) > 0:
            words.append(f"{self.target}: {more:,} more such parts")
        return words

    def unrelated(self) -> str:
        """Describe sides whose lengths are not correlated, as of a shuffled side; "" for others.

        Shuffled sides have a correlation of 0, with a standard deviation of 1 / sqrt(pairs).
        """
        self._close()
        count, x, y, xx, yy, xy = self._sums.tolist()
        if count < LEAST_PAIRS:
            return ""
        spread = math.sqrt(max(xx - x * x / count, 0) * max(yy - y * y / count, 0))
        if spread <= 1e-9 * count:  # all lines of one side have the same length
            return ""
        correlation = (xy - x * y / count) / spread
        if correlation >= max(UNRELATED, 2 / math.sqrt(count)):
            return ""
        return (
            f"the lengths of the lines of {self.source} and {self.target} are not correlated ({correlation:.2f}; "
            "translations have about 0.9): is one side in another order, or of another text?"
        )

    def _close(self) -> None:
        """Check the window and begin another one. A shift that goes on from the window before is the same one."""
        window, before = self._window, self._first - 1
        self._window = Steps()
        self._first += len(window)
        if not len(window):
            return
        self._sums += window.sums()
        if (found := window.shift()) is None:
            return
        found = replace(found, first=found.first + before, last=found.last + before)
        last = self._shifts[-1] if self._shifts else None
        if last is not None and last.by == found.by and found.first - last.last <= LEAST + 2 * FURTHEST:
            self._shifts[-1] = replace(last, last=found.last)
        else:
            self._shifts.append(found)


def check_steps(bitext: Bitext, allow_shifted: bool = False) -> None:
    """Print a warning of unrelated sides, and of sides that are out of step if `allow_shifted`.

    It reads the text once more, so that memory does not grow with it.

    Raises:
        UserError: for sides that are out of step, without `allow_shifted`.
    """
    found = []
    for sides in bitext.values():
        source, target = (side.path for side in sides.values())
        pairs = zip(read_lines(source), read_lines(target), strict=False)  # `check_bitext` has counted the lines
        found.append(Alignment.of(str(source), str(target), pairs))
    shifts = [shift for each in found for shift in each.shifts()]
    if shifts and not allow_shifted:
        raise UserError(refusal(shifts))
    for warning in [*shifts, *(words for each in found if (words := each.unrelated()))]:
        print(f"warning: {warning}", file=sys.stderr)


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
