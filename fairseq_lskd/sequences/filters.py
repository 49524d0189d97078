"""Filters of a teacher's translations: each looks at the texts of a source sentence and of one hypothesis.

Words are what white space separates: where a language is written without it, `Copies` sees whole clauses and `Repeats`
nothing. All filters are plain data, which worker processes are given.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from ..data.language_id import identifier, is_other, unknown_languages
from ..errors import UserError
from .pieces import has_unknown

#: Letters only: numbers are the same in both languages.
_WORD = re.compile(r"[^\W\d_]+")


class Filter(Protocol):
    """`filter(source, hypothesis)` is True where the hypothesis is to be dropped."""

    name: ClassVar[str]

    def __call__(self, source: str, hypothesis: str) -> bool: ...


@dataclass(frozen=True)
class LengthRatio:
    """One side has more than `limit` times the characters of the other, white space aside."""

    limit: float
    name: ClassVar[str] = "length ratio"

    def __post_init__(self) -> None:
        if not self.limit >= 1:
            raise UserError(f"--filter-length-ratio {self.limit:g}: expected 1 or more")

    def __call__(self, source: str, hypothesis: str) -> bool:
        shorter, longer = sorted(sum(map(len, text.split())) for text in (source, hypothesis))
        return longer > self.limit * shorter


@dataclass(frozen=True)
class Copies:
    """At least this share of the hypothesis's words stand in the source (Ott et al., ICML 2018, have 0.5)."""

    share: float
    name: ClassVar[str] = "copy of the source"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UserError(f"--filter-copies {self.share:g}: expected above 0, at most 1")

    def __call__(self, source: str, hypothesis: str) -> bool:
        known = set(_WORD.findall(source.casefold()))
        words = _WORD.findall(hypothesis.casefold())
        return bool(words) and sum(word in known for word in words) >= self.share * len(words)


@dataclass(frozen=True)
class Repeats:
    """The hypothesis's most frequent n-gram of words occurs at least `excess` times more often than the source's.

    Raunak et al. (NAACL 2021) find oscillatory hallucinations so.
    """

    n: int
    excess: int
    name: ClassVar[str] = "repeated n-gram"

    def __post_init__(self) -> None:
        if self.n < 1 or self.excess < 1:
            raise UserError(f"--filter-repeats {self.n},{self.excess}: expected two numbers of 1 or more")

    def __call__(self, source: str, hypothesis: str) -> bool:
        return self._most(hypothesis) - self._most(source) >= self.excess

    def _most(self, text: str) -> int:
        words = text.casefold().split()
        # A text of fewer than n words repeats nothing either.
        return max(Counter(zip(*(words[i:] for i in range(self.n)), strict=False)).values(), default=1)


@dataclass(frozen=True)
class Language:
    """py3langid is sure that the source or the hypothesis is in another language than this.

    Sure is a probability of `data.language_id.SURE`: on short sentences its first guess is wrong too often.
    """

    source: str
    target: str
    name: ClassVar[str] = "language"

    def __post_init__(self) -> None:
        if unknown := unknown_languages((self.source, self.target), "--filter-language"):
            raise UserError(
                f"--filter-language {self.source},{self.target}: py3langid does not know {', '.join(unknown)}; "
                f"it knows {' '.join(sorted(identifier('--filter-language').labels))}"
            )

    def __call__(self, source: str, hypothesis: str) -> bool:
        return _is_other(source, self.source) or _is_other(hypothesis, self.target)


@functools.lru_cache(maxsize=16)  # the hypotheses of a sentence have its source in common
def _is_other(text: str, language: str) -> bool:
    return is_other(text, language)


@dataclass(frozen=True)
class Unknown:
    """The hypothesis has an unknown word: `<unk>`, or what looks like it."""

    name: ClassVar[str] = "unknown word"

    def __call__(self, source: str, hypothesis: str) -> bool:
        return has_unknown(hypothesis)


def refused_by(filters: Sequence[Filter], source: str, hypothesis: str) -> str | None:
    """The name of the first filter that drops the hypothesis; None if all let it pass."""
    return next((each.name for each in filters if each(source, hypothesis)), None)
