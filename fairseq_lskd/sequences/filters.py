"""Filters of a teacher's translations. Each compares the text of a hypothesis with the text of its source sentence.

Words are separated by white space. In languages without it, `Copies` compares whole clauses and `Repeats` finds
only repeated characters. Filters are picklable, so that they can be sent to worker processes.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from ..data.degenerate import stutters
from ..data.language_id import identifier, is_other, unknown_languages
from ..errors import UserError
from .pieces import has_unknown

#: Words of letters only, as numbers are the same in both languages.
_WORD = re.compile(r"[^\W\d_]+")


class Filter(Protocol):
    """`filter(source, hypothesis)` is True if the hypothesis must be dropped."""

    name: ClassVar[str]

    def __call__(self, source: str, hypothesis: str) -> bool: ...


@dataclass(frozen=True)
class LengthRatio:
    """Drop a pair if one side has more than `limit` times the characters of the other, without white space."""

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
    """Drop a hypothesis if at least `share` of its words occur in the source (Ott et al., ICML 2018, use 0.5)."""

    share: float
    name: ClassVar[str] = "copy of the source"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UserError(f"--filter-copies {self.share:g}: expected above 0 and at most 1")

    def __call__(self, source: str, hypothesis: str) -> bool:
        known = set(_WORD.findall(source.casefold()))
        words = _WORD.findall(hypothesis.casefold())
        return bool(words) and sum(word in known for word in words) >= self.share * len(words)


@dataclass(frozen=True)
class Repeats:
    """Drop a hypothesis if its most frequent word n-gram occurs at least `excess` more times than that of the source.

    Raunak et al. (NAACL 2021) detect oscillatory hallucinations in this way. Models of SentencePiece pieces also repeat
    pieces within a word: a hypothesis that `stutters` is dropped too, unless the source does.
    """

    n: int
    excess: int
    name: ClassVar[str] = "repeated n-gram"

    def __post_init__(self) -> None:
        if self.n < 1 or self.excess < 1:
            raise UserError(f"--filter-repeats {self.n},{self.excess}: expected two numbers of 1 or more")

    def __call__(self, source: str, hypothesis: str) -> bool:
        if self._most(hypothesis) - self._most(source) >= self.excess:
            return True
        return stutters(hypothesis) and not stutters(source)

    def _most(self, text: str) -> int:
        words = text.casefold().split()
        # A text with fewer than n words counts as one without repetitions.
        return max(Counter(zip(*(words[i:] for i in range(self.n)), strict=False)).values(), default=1)


@dataclass(frozen=True)
class Language:
    """Drop a pair if py3langid is sure that the source or the hypothesis is in another language.

    py3langid is sure at a probability of `data.language_id.SURE`. Below it, guesses on short sentences are often wrong.
    """

    source: str
    target: str
    name: ClassVar[str] = "language"

    def __post_init__(self) -> None:
        if unknown := unknown_languages((self.source, self.target), "--filter-language"):
            raise UserError(
                f"--filter-language {self.source},{self.target}: py3langid does not know {', '.join(unknown)}. "
                f"It knows {' '.join(sorted(identifier('--filter-language').labels))}"
            )

    def __call__(self, source: str, hypothesis: str) -> bool:
        return _is_other(source, self.source) or _is_other(hypothesis, self.target)


@functools.lru_cache(maxsize=16)  # all hypotheses of a sentence have the same source
def _is_other(text: str, language: str) -> bool:
    return is_other(text, language)


@dataclass(frozen=True)
class Unknown:
    """Drop a hypothesis that contains an unknown word: `<unk>` or one of its variants."""

    name: ClassVar[str] = "unknown word"

    def __call__(self, source: str, hypothesis: str) -> bool:
        return has_unknown(hypothesis)


def refused_by(filters: Sequence[Filter], source: str, hypothesis: str) -> str | None:
    """Return the name of the first filter that drops the hypothesis, or None if it passes all filters."""
    return next((each.name for each in filters if each(source, hypothesis)), None)
