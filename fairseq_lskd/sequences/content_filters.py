"""Filters of what production systems learnt to look for: numbers, brackets, clauses, scripts, and usual lengths.

As those of `filters`, each looks at the texts of a source sentence and of one hypothesis, and is plain data. `Script`
and `UsualLength` are learnt from a sample of the translations.
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

SAMPLE = 10_000  # sentences that scripts and lengths are learnt from
LEAST = 20  # and as many at least
ANY = 1e9  # a spread that every length is within
#: Letters and digits of a source that one character cannot translate.
LONG = 10

_DIGITS = re.compile(r"\d+")
#: Between the digits of one number: 1,000.5 is 1.000,5 or 1 000,5 elsewhere, and 15:30 is 15.30.
_SEPARATOR = re.compile(r"(?<=\d)[.,:'\u2019\u00a0\u202f ](?=\d)")
_WORD_CHARACTER = re.compile(r"[^\W_]")
_CLAUSE = re.compile(r"[.!?,;:\u2026\u3002\uff01\uff1f\uff0c\u3001\uff1b\u061f\u060c\u0964]+")
_LETTER = re.compile(r"[^\W\d_]")
_BRACKETS = ("()", "[]", "{}", "\uff08\uff09", "\u300c\u300d", "\u300e\u300f", "\u3010\u3011", "\u300a\u300b")
#: Which of them open and which close differs between languages.
_QUOTES = ('"', "\u201c\u201d\u201e", "\u00ab\u00bb")


@dataclass(frozen=True)
class Numbers:
    """A number of two or more digits stands on one side only. Of one digit, it may be a word on the other."""

    name: ClassVar[str] = "numbers differ"

    def __call__(self, source: str, hypothesis: str) -> bool:
        return _numbers(source) != _numbers(hypothesis)


def _numbers(text: str) -> set[str]:
    if text.isascii() and not _DIGITS.search(text):
        return set()
    runs = _DIGITS.findall(_SEPARATOR.sub("", text))
    # The digits of every script are the same numbers.
    return {"".join(str(int(digit)) for digit in run) for run in runs if len(run) > 1}


@dataclass(frozen=True)
class Brackets:
    """The hypothesis leaves a bracket or a quotation open, or closes one that is not, and the source does not."""

    name: ClassVar[str] = "unbalanced brackets or quotes"

    def __call__(self, source: str, hypothesis: str) -> bool:
        return _unbalanced(hypothesis) and not _unbalanced(source)


def _unbalanced(text: str) -> bool:
    if any(text.count(pair[0]) != text.count(pair[1]) for pair in _BRACKETS):
        return True
    return any(sum(map(text.count, marks)) % 2 for marks in _QUOTES)


@dataclass(frozen=True)
class Clauses:
    """The hypothesis says a clause or sentence again that it has said, and more often than the source does."""

    name: ClassVar[str] = "repeated clause"

    def __call__(self, source: str, hypothesis: str) -> bool:
        again = _said_again(hypothesis)
        return again > 0 and again > _said_again(source)


def _said_again(text: str) -> int:
    clauses = (" ".join(clause.casefold().split()) for clause in _CLAUSE.split(text))
    counts = Counter(clause for clause in clauses if _LETTER.search(clause))
    return counts.total() - len(counts)


@dataclass(frozen=True)
class Short:
    """The hypothesis has no letter or digit, or one of them for a source of `LONG` or more."""

    name: ClassVar[str] = "too short to be one"

    def __call__(self, source: str, hypothesis: str) -> bool:
        mine = len(_WORD_CHARACTER.findall(hypothesis))
        if mine > 1:
            return False
        theirs = len(_WORD_CHARACTER.findall(source))
        return theirs >= (LONG if mine else 1)


@dataclass(frozen=True)
class Script:
    """Less than `share` of the hypothesis's letters are in the script that most translations are in."""

    share: float
    script: str | None  #: as `main_script` calls it; None lets all pass
    name: ClassVar[str] = "script"

    @classmethod
    def learnt(cls, share: float, sample: Sequence[tuple[str, str]]) -> Script:
        """From pairs of a source and its best translation."""
        if not 0 < share <= 1:
            raise UserError(f"--filter-script {share:g}: expected above 0, at most 1")
        return cls(share, main_script([hypothesis for _, hypothesis in sample]))

    def __call__(self, source: str, hypothesis: str) -> bool:
        return self.script is not None and outside_script(hypothesis, self.script, self.share)


@dataclass(frozen=True)
class UsualLength:
    """The length is more than `limit` standard deviations from what is usual for a source as long as this.

    Gale & Church (1993): the variance of a translation's length grows with the length of its source. Lengths are in
    characters, white space aside; median and spread are robust, so that bad translations do not count as usual.
    """

    limit: float
    ratio: float  #: of the target's length to the source's
    spread: float  #: standard deviation for a source of one character
    name: ClassVar[str] = "unusual length"

    @classmethod
    def learnt(cls, limit: float, sample: Sequence[tuple[str, str]]) -> UsualLength:
        """From pairs of a source and its best translation; of fewer than `LEAST` nothing is learnt."""
        if not 0 < limit < math.inf:
            raise UserError(f"--filter-usual-length {limit:g}: expected above 0")
        lengths = np.array([(_characters(a), _characters(b)) for a, b in sample], np.float64).reshape(-1, 2)
        source, target = lengths[(lengths > 0).all(axis=1)].T
        if len(source) < LEAST:
            return cls(limit, 1.0, ANY)
        ratio = float(np.median(target / source))
        # 1.4826 median deviations are a standard deviation of normal ones. At least a character for a source of 16.
        spread = 1.4826 * float(np.median(np.abs(target - ratio * source) / np.sqrt(source)))
        return cls(limit, ratio, max(spread, 0.25))

    def __call__(self, source: str, hypothesis: str) -> bool:
        length = _characters(source)
        return abs(_characters(hypothesis) - self.ratio * length) > self.limit * self.spread * math.sqrt(max(length, 1))


def _characters(text: str) -> int:
    return sum(map(len, text.split()))
