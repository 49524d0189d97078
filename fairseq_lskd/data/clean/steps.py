"""The cleaning steps of a corpus file, and what each does to a pair of sentences.

All steps are off by default. Text steps change both sides. Filters drop a pair, which counts for the first filter that
drops it. Words are separated by white space, or are Moses tokens with `words = "moses"`.
"""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import regex

from ...errors import UserError, meant
from ...extras import require
from ...reading import NUMBER, misfit

#: Control and format characters, without the two joiners, which Persian and Indic spelling needs.
_CONTROLS = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>|<!--")
_BEYOND_LATIN = re.compile("[^\x00-\u024f\u2000-\u206f\u20a0-\u20cf\u2100-\u214f]")
_LETTER = regex.compile(r"\p{L}")
_SCRIPTS = {
    name: regex.compile("[" + "".join(rf"\p{{{script}}}" for script in name.split("+")) + "]")
    for name in (
        *("Latin", "Han+Hiragana+Katakana", "Cyrillic", "Arabic", "Greek", "Hebrew", "Devanagari", "Bengali"),
        *("Gujarati", "Gurmukhi", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Thai", "Lao", "Khmer"),
        *("Myanmar", "Tibetan", "Hangul", "Georgian", "Armenian", "Ethiopic"),
    )
}
CHOICES = {
    "unicode": ("off", "NFC", "NFKC"),
    "html": ("off", "unescape", "strip", "drop"),
    "words": ("spaces", "moses"),
    "language": ("off", "doubtful", "all"),
    "duplicates": ("off", "pair", "source", "target"),
    "held_out": ("off", "pair", "source", "target", "either"),
    "not_utf8": ("refuse", "drop"),
}

#: The names of filters in reports, in the order in which they are applied.
NOT_UTF8, BROKEN, EMPTY, MARKUP, LONG, LONG_WORD = (
    "not UTF-8",
    "broken characters",
    "empty",
    "markup",
    "too long",
    "long word",
)
RATIO, COPY, SCRIPT, HELD_OUT, LANGUAGE, DUPLICATE = (
    "length ratio",
    "copy",
    "script",
    "in valid or test",
    "language",
    "duplicate",
)
FILTERS = (NOT_UTF8, BROKEN, EMPTY, MARKUP, LONG, LONG_WORD, RATIO, COPY, SCRIPT, HELD_OUT, LANGUAGE, DUPLICATE)


@dataclass(frozen=True)
class Steps:
    """The cleaning steps, explained in docs/data.md. Limits are inclusive; None is off."""

    unicode: str = "off"
    controls: bool = False
    spaces: bool = False
    html: str = "off"
    broken: bool = False
    words: str = "spaces"
    max_words: int | None = None
    max_chars: int | None = None
    max_word_chars: int | None = None
    ratio: float | None = None
    word_ratio: float | None = None
    copies: float | None = None
    script: float | None = None
    language: str = "off"
    duplicates: str = "off"
    held_out: str = "off"
    not_utf8: str = "refuse"

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Steps:
        """Read [clean] of a corpus file. Raise `UserError` with every problem in it."""
        kinds = {item.name: item for item in fields(cls)}
        problems = []
        for key, value in table.items():
            if key not in kinds:
                close = meant(key, kinds)
                problems.append(f"clean.{key}: unknown{f', did you mean {close}?' if close else ''}")
            elif key in CHOICES:
                if value not in CHOICES[key]:
                    problems.append(f"clean.{key} = {value!r}: expected {', '.join(CHOICES[key])}")
            elif isinstance(kinds[key].default, bool):
                if not isinstance(value, bool):
                    problems.append(f"clean.{key} = {value!r}: expected true or false")
            elif key.startswith("max_"):
                if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                    problems.append(f"clean.{key} = {value!r}: expected a whole number from 1")
            elif misfit(value, NUMBER):
                problems.append(f"clean.{key} = {value!r}: expected a number")
            elif "ratio" in key and value < 1:
                problems.append(f"clean.{key} = {value}: expected 1 or more")
            elif "ratio" not in key and not 0 < value <= 1:
                problems.append(f"clean.{key} = {value}: expected a share above 0, at most 1")
        if problems:
            raise UserError("\n  ".join(problems))
        return cls(**table)

    @property
    def chosen(self) -> dict[str, Any]:
        """The steps that differ from the defaults."""
        return {item.name: value for item in fields(self) if (value := getattr(self, item.name)) != item.default}


def text_step(steps: Steps) -> Callable[[str], str]:
    """Return the function that applies the text steps to a line."""
    normalise, controls, spaces = steps.unicode, steps.controls, steps.spaces
    unescape, strip = steps.html != "off", steps.html == "strip"

    def tidy(text: str) -> str:
        if unescape and "&" in text:
            text = html.unescape(html.unescape(text))  # twice: &amp;quot; is common in crawled text
        if strip and "<" in text:
            text = _TAG.sub(" ", text)
        if normalise != "off" and not text.isascii():
            text = unicodedata.normalize(normalise, text)  # type: ignore[arg-type]
        # isprintable() is False for every white space except U+0020.
        if not text.isprintable():
            if controls:
                text = _CONTROLS.sub("", text)
            if spaces or "\n" in text:  # an unescaped &#10; must not end the line
                text = " ".join(text.split())
        elif spaces and ("  " in text or text[:1] == " " or text[-1:] == " "):
            text = " ".join(text.split())
        return text

    return tidy


def word_counter(steps: Steps, language: str) -> Callable[[str], int]:
    """Return a function that counts the words of a line."""
    if steps.words == "spaces":
        return lambda text: len(text.split())
    require('words = "moses"', "sacremoses")
    from sacremoses import MosesTokenizer

    tokenize = MosesTokenizer(language).tokenize
    return lambda text: len(tokenize(text, escape=False))


def main_script(texts: Sequence[str]) -> str | None:
    """Return the script of most letters; None without letters."""
    joined = "".join(texts)
    counts = {name: len(pattern.findall(joined)) for name, pattern in _SCRIPTS.items()}
    name = max(counts, key=lambda each: counts[each])
    return name if counts[name] else None


def outside_script(text: str, script: str, share: float) -> bool:
    """Whether less than this share of the text's letters is in the script. False for text without letters."""
    if script == "Latin" and (text.isascii() or not _BEYOND_LATIN.search(text)):
        return False
    letters = len(_LETTER.findall(text))
    return len(_SCRIPTS[script].findall(text)) < share * letters


def is_copy(source: str, target: str, share: float) -> bool:
    """Whether at least this share of the target's words occur in the source, or the two are equal."""
    if source == target:
        return True
    words = [word for word in target.split() if any(map(str.isalpha, word))]
    known = set(source.split())
    return bool(words) and sum(map(known.__contains__, words)) >= share * len(words)


@dataclass(frozen=True)
class Facts:
    """What filters need to know about the whole corpus (source first), from a sample and from valid and test.

    `lengths` are mean characters per line; `held_out` are the case-folded lines of valid and test.
    """

    languages: tuple[str, str]
    lengths: tuple[float, float] = (1.0, 1.0)
    scripts: tuple[str | None, str | None] = (None, None)
    held_out: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    held_out_pairs: frozenset[tuple[str, str]] = frozenset()


Check = Callable[[str, str], bool]


def filters(steps: Steps, facts: Facts, other_language: Check | None = None) -> list[tuple[str, Check]]:
    """Return the filters that are on, in order. Each is True for a pair to drop."""
    checks: list[tuple[str, Check]] = []
    if steps.broken:
        checks.append((BROKEN, lambda source, target: "\ufffd" in source or "\ufffd" in target))
    checks.append((EMPTY, lambda source, target: not source.strip() or not target.strip()))
    if steps.html == "drop":
        checks.append(
            (
                MARKUP,
                lambda source, target: bool(
                    ("<" in source and _TAG.search(source)) or ("<" in target and _TAG.search(target))
                ),
            )
        )
    checks += _length_filters(steps, facts)
    if steps.copies is not None:
        copies = steps.copies
        checks.append((COPY, lambda source, target: is_copy(source.casefold(), target.casefold(), copies)))
    if steps.script is not None:
        checks += [
            (SCRIPT, functools.partial(_outside, side, script, steps.script))
            for side, script in enumerate(facts.scripts)
            if script is not None
        ]
    if steps.held_out != "off":
        checks.append((HELD_OUT, functools.partial(_held_out, steps.held_out, facts)))
    if other_language is not None:
        checks.append((LANGUAGE, other_language))
    return checks


def _length_filters(steps: Steps, facts: Facts) -> list[tuple[str, Check]]:
    checks: list[tuple[str, Check]] = []
    if steps.max_chars is not None:
        most = steps.max_chars
        checks.append((LONG, lambda source, target: len(source) > most or len(target) > most))
    if steps.max_words is not None or steps.word_ratio is not None:
        count_source, count_target = (word_counter(steps, language) for language in facts.languages)
        words, ratio = steps.max_words, steps.word_ratio
        if words is not None and ratio is None and steps.words == "spaces":
            # A fast test first: most lines are shorter than this number of one-letter words.
            checks.append((LONG, lambda s, t: len(s) >= 2 * words and len(s.split()) > words))
            checks.append((LONG, lambda s, t: len(t) >= 2 * words and len(t.split()) > words))
        else:

            @functools.lru_cache(maxsize=1)  # both filters look at the same pair
            def counts(source: str, target: str) -> tuple[int, int]:
                return count_source(source), count_target(target)

            if words is not None:
                checks.append((LONG, lambda s, t: max(counts(s, t)) > words))
            if ratio is not None:
                checks.append((RATIO, lambda s, t: max(counts(s, t)) > ratio * min(counts(s, t))))
    if steps.max_word_chars is not None:
        longest = re.compile(rf"\S{{{steps.max_word_chars + 1}}}")
        least = steps.max_word_chars
        checks.append(
            (
                LONG_WORD,
                lambda s, t: (
                    (len(s) > least and longest.search(s) is not None)
                    or (len(t) > least and longest.search(t) is not None)
                ),
            )
        )
    if steps.ratio is not None:
        # Relative to the usual ratio of lengths between these languages.
        usual = facts.lengths[1] / facts.lengths[0]
        upper, lower = steps.ratio * usual, usual / steps.ratio
        checks.append((RATIO, lambda source, target: not lower <= len(target) / len(source) <= upper))
    return checks


def _outside(side: int, script: str, share: float, source: str, target: str) -> bool:
    return outside_script(target if side else source, script, share)


def _held_out(where: str, facts: Facts, source: str, target: str) -> bool:
    source, target = source.casefold(), target.casefold()
    in_source, in_target = source in facts.held_out[0], target in facts.held_out[1]
    if where == "pair":
        return in_source and in_target and (source, target) in facts.held_out_pairs
    return {"source": in_source, "target": in_target, "either": in_source or in_target}[where]
