"""Filters that production systems use: numbers, brackets, clauses, scripts, and usual lengths.

They have the interface of `filters`. `Script` and `UsualLength` are estimated from a sample of the translations.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..data.clean.steps import main_script, outside_script
from ..errors import UserError

SAMPLE = 10_000  # sentences for estimating scripts and lengths
MIN_SAMPLE = 20  # with fewer sentences, UsualLength drops nothing
UNLIMITED = 1e9  # a spread that no length exceeds
#: Letters and digits of a source that a single character cannot translate.
LONG = 10

_DIGITS = re.compile(r"\d+")
#: Separators within a number. They differ between languages: 1,000.5 is 1.000,5 or 1 000,5, and 15:30 is 15.30.
_SEPARATOR = re.compile(r"(?<=\d)[.,:'\u2019\u00a0\u202f ](?=\d)")
_WORD_CHARACTER = re.compile(r"[^\W_]")
_CLAUSE = re.compile(r"[.!?,;:\u2026\u3002\uff01\uff1f\uff0c\u3001\uff1b\u061f\u060c\u0964]+")
_LETTER = re.compile(r"[^\W\d_]")
_BRACKETS = ("()", "[]", "{}", "\uff08\uff09", "\u300c\u300d", "\u300e\u300f", "\u3010\u3011", "\u300a\u300b")
#: Quotes of one kind. Which of them open and which close differs between languages.
_QUOTES = ('"', "\u201c\u201d\u201e", "\u00ab\u00bb")


@dataclass(frozen=True)
class Numbers:
    """Drop a pair if a number of two or more digits is on one side only. A single digit may be a word on the other."""

    name: ClassVar[str] = "numbers differ"

    def __call__(self, source: str, hypothesis: str) -> bool:
        return _numbers(source) != _numbers(hypothesis)


def _numbers(text: str) -> set[str]:
    if text.isascii() and not _DIGITS.search(text):
        return set()
    runs = _DIGITS.findall(_SEPARATOR.sub("", text))
    # Digits of all scripts are compared by value.
    return {"".join(str(int(digit)) for digit in run) for run in runs if len(run) > 1}


@dataclass(frozen=True)
class Brackets:
    """Drop a hypothesis with unbalanced brackets or quotes, unless they are unbalanced in the source, too."""

    name: ClassVar[str] = "unbalanced brackets or quotes"

    def __call__(self, source: str, hypothesis: str) -> bool:
        return _unbalanced(hypothesis) and not _unbalanced(source)


def _unbalanced(text: str) -> bool:
    if any(text.count(pair[0]) != text.count(pair[1]) for pair in _BRACKETS):
        return True
    return any(sum(map(text.count, marks)) % 2 for marks in _QUOTES)


@dataclass(frozen=True)
class Clauses:
    """Drop a hypothesis that repeats a clause or sentence, and more often than the source does."""

    name: ClassVar[str] = "repeated clause"

    def __call__(self, source: str, hypothesis: str) -> bool:
        repeated = _repetitions(hypothesis)
        return repeated > 0 and repeated > _repetitions(source)


def _repetitions(text: str) -> int:
    clauses = (" ".join(clause.casefold().split()) for clause in _CLAUSE.split(text))
    counts = Counter(clause for clause in clauses if _LETTER.search(clause))
    return counts.total() - len(counts)


@dataclass(frozen=True)
class Short:
    """Drop a hypothesis without a letter or digit, or with a single one if the source has `LONG` or more."""

    name: ClassVar[str] = "too short to be one"

    def __call__(self, source: str, hypothesis: str) -> bool:
        mine = len(_WORD_CHARACTER.findall(hypothesis))
        if mine > 1:
            return False
        theirs = len(_WORD_CHARACTER.findall(source))
        return theirs >= (LONG if mine else 1)


@dataclass(frozen=True)
class Script:
    """Drop a hypothesis if less than `share` of its letters are in the main script of the translations."""

    share: float
    script: str | None  #: a name of `main_script`; None drops nothing
    name: ClassVar[str] = "script"

    @classmethod
    def learnt(cls, share: float, sample: Sequence[tuple[str, str]]) -> Script:
        """Find the main script. `sample` holds (source, best translation) pairs."""
        if not 0 < share <= 1:
            raise UserError(f"--filter-script {share:g}: expected above 0 and at most 1")
        return cls(share, main_script([hypothesis for _, hypothesis in sample]))

    def __call__(self, source: str, hypothesis: str) -> bool:
        return self.script is not None and outside_script(hypothesis, self.script, self.share)


@dataclass(frozen=True)
class UsualLength:
    """Drop a hypothesis if its length is more than `limit` standard deviations from the usual length for its source.

    The variance of a translation's length grows with the length of its source (Gale & Church 1993). Lengths are in
    characters, without white space. The estimates use medians, so that bad translations have little influence.
    """

    limit: float
    ratio: float  #: median ratio of the target's length to the source's
    spread: float  #: standard deviation for a source of one character
    name: ClassVar[str] = "unusual length"

    @classmethod
    def learnt(cls, limit: float, sample: Sequence[tuple[str, str]]) -> UsualLength:
        """Estimate from (source, best translation) pairs. With fewer than `MIN_SAMPLE`, the filter drops nothing."""
        if not 0 < limit < math.inf:
            raise UserError(f"--filter-usual-length {limit:g}: expected above 0")
        lengths = np.array([(_characters(a), _characters(b)) for a, b in sample], np.float64).reshape(-1, 2)
        source, target = lengths[(lengths > 0).all(axis=1)].T
        if len(source) < MIN_SAMPLE:
            return cls(limit, 1.0, UNLIMITED)
        ratio = float(np.median(target / source))
        # 1.4826 times the median deviation is the standard deviation of a normal distribution. The minimum of 0.25 is
        # one character for a source of 16.
        spread = 1.4826 * float(np.median(np.abs(target - ratio * source) / np.sqrt(source)))
        return cls(limit, ratio, max(spread, 0.25))

    def __call__(self, source: str, hypothesis: str) -> bool:
        length = _characters(source)
        return abs(_characters(hypothesis) - self.ratio * length) > self.limit * self.spread * math.sqrt(max(length, 1))


def _characters(text: str) -> int:
    return sum(map(len, text.split()))
