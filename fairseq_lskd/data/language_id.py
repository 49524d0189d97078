"""Identify languages with py3langid: about 15,000 lines per second and core, so only ask about doubtful lines."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..extras import require
from .writing_systems import words_of

#: Below this probability, the guess for a short sentence is wrong too often to act on it.
SURE = 0.5
GUESSED = 100  # pairs per part from which its languages are guessed
SURELY = 0.5  # share of these pairs from which on the sides count as swapped
FREQUENT = 3000  # frequent words of a language by which its lines are recognised without py3langid
PLAIN = 0.6  # share of a line's words that must be frequent words


def identifier(needed_by: str) -> Any:
    """Return py3langid's identifier. Raise `UserError`, with `needed_by`, if it is not installed."""
    require(needed_by, "py3langid")
    return _identifier()


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def unknown_languages(languages: Iterable[str], needed_by: str) -> list[str]:
    """Return the languages that py3langid does not know."""
    labels = identifier(needed_by).labels
    return [language for language in languages if language not in labels]


def identify(text: str) -> tuple[str, float]:
    """Return the most probable language of a text and its probability."""
    return identifier("identifying languages").classify(text)


def is_other(text: str, language: str) -> bool:
    """Whether the text is in another language with a probability of at least `SURE`."""
    found, probability = identify(text)
    return found != language and probability >= SURE


def frequent_words(lines: Sequence[str], language: str) -> frozenset[str]:
    """Return the most frequent words of the lines that py3langid finds to be in the language."""
    counts: Counter[str] = Counter()
    for line in lines:
        if identify(line)[0] == language:
            counts.update(words_of(line, language))
    return frozenset(word for word, count in counts.most_common(FREQUENT) if count > 1)


class OtherLanguage:
    """Tests whether one side of a pair is surely in another language than expected.

    py3langid is only asked about lines with few `frequent` words of their language, or about all if `frequent` is None.
    """

    def __init__(self, languages: tuple[str, str], frequent: tuple[frozenset[str], frozenset[str]] | None) -> None:
        self.languages = languages
        self.frequent = frequent
        self.asked = 0

    def __call__(self, source: str, target: str) -> bool:
        return self._other(source, 0) or self._other(target, 1)

    def _other(self, text: str, side: int) -> bool:
        language = self.languages[side]
        if self.frequent is not None:
            words = words_of(text, language)
            if sum(map(self.frequent[side].__contains__, words)) >= PLAIN * len(words):
                return False
        self.asked += 1
        return is_other(text, language)


@dataclass(frozen=True)
class Guess:
    """The languages of a sample: the share of swapped pairs, and each side's most frequent language and its share."""

    swapped: float
    found: tuple[str, str]
    shares: tuple[float, float]


def guess(pairs: Sequence[tuple[str, str]], languages: tuple[str, str]) -> Guess | None:
    """Guess the languages of the sides. Return None if py3langid does not know `languages`, or there are no pairs."""
    if not pairs or unknown_languages(languages, "guessing languages"):
        return None
    found = [(identify(source)[0], identify(target)[0]) for source, target in pairs]
    tops = [Counter(pair[side] for pair in found).most_common(1)[0] for side in (0, 1)]
    swapped = sum(pair == languages[::-1] for pair in found)
    return Guess(swapped / len(found), (tops[0][0], tops[1][0]), (tops[0][1] / len(found), tops[1][1] / len(found)))


def look_swapped(found: Guess | None, languages: tuple[str, str]) -> str:
    """Return in words that the sides of a sample look swapped, or "" if they do not."""
    if found is None or found.swapped < SURELY:
        return ""
    source, target = languages
    return (
        f"the two sides look swapped: in {100 * found.swapped:.0f} % of a sample, "
        f"the {source} side is {target} and the {target} side is {source}"
    )
