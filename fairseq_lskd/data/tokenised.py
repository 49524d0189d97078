"""Detect text that is tokenised or in subword pieces."""

from __future__ import annotations

import re
from collections.abc import Sequence

import regex

from .bitext import some_lines
from .writing_systems import UNSPACED_CHARACTER, base_language

LOOKED_AT = 20_000  #: lines of a training text that callers should check
_SUBWORD_NMT = re.compile(r"@@( |$)")
#: Traces that plain text does not have, and their meaning.
_REMNANTS = (
    (re.compile("▁"), "SentencePiece's mark ▁ (decode it first; with fairseq-generate: --remove-bpe sentencepiece)"),
    (_SUBWORD_NMT, "subword-nmt's mark @@ (with fairseq-generate: --remove-bpe)"),
    (re.compile(r"(^| )@-@ |&(apos|quot|amp|lt|gt|#124|#91|#93);"), "the Moses tokeniser's @-@ or &apos; (detokenise)"),
)
#: The minimum share of lines with a trace. Web text has an &amp; now and then, and so has the output of a model that
#: was trained on it.
_REMNANT_SHARE = 0.005
_WIDE = re.compile(r"\S [\u3002\u3001\uff0c\uff01\uff1f\uff1b\uff1a]")
#: French has a space before these.
_ASKING = re.compile(r" [?!]( |$)")
_FRENCH = ("fr", "fra", "fre", "frm", "br", "bre")
#: Punctuation attached to a word, except the point and the comma within numbers.
_ATTACHED = re.compile(r"\w[,.?!](?=\s|$)")
#: Lines with a space before punctuation count as tokenised from 100 lines or 1 %, whichever is more, or from 10 %.
_MANY, _SHARE_OF_MANY, _SHARE = 100, 0.01, 0.1
#: Scripts without spaces: the number of spaces between two of their characters, per character. Thai has a space
#: between clauses, about every twenty characters; a tokeniser adds one every two to six.
_BETWEEN = regex.compile(rf"(?<={UNSPACED_CHARACTER}) (?={UNSPACED_CHARACTER})")
_CHARACTER = regex.compile(UNSPACED_CHARACTER)
_SPACED = 0.1
#: Forms of the unknown word: fairseq's <unk> and <<unk>>, also escaped or with spaces, BERT's, and SentencePiece's.
UNKNOWN = re.compile(r"(?:<|&lt;) ?unk ?(?:>|&gt;)|\[unk\]|\u2047", re.IGNORECASE)


def looks_tokenised(lines: Sequence[str], language: str | None = None, punctuation: bool = True) -> list[str]:
    """Return descriptions of the traces of tokenisation or subword pieces in the lines; empty for plain text.

    Args:
        language: the language's code, if known. French has spaces before question marks.
        punctuation: whether to check spaces. A model that has learnt little may generate them by itself.
    """
    found = []
    for trace, meaning in _REMNANTS:
        numbers = [number for number, line in enumerate(lines, 1) if trace.search(line)]
        if numbers and len(numbers) >= _REMNANT_SHARE * len(lines):
            found.append(f"{some_lines(numbers)} with {meaning}")
    if not punctuation:
        return found
    least = min(max(_MANY, _SHARE_OF_MANY * len(lines)), max(2, _SHARE * len(lines)))
    traces = ((_has_spaced_stop, "' ,' or a final ' .'"), (_WIDE.search, "' 。' or ' 、'"))
    for has, mark in traces:
        numbers = [number for number, line in enumerate(lines, 1) if has(line)]
        if len(numbers) >= least:
            found.append(f"{some_lines(numbers)} with a space before punctuation, {mark} (detokenise)")
    numbers = [number for number, line in enumerate(lines, 1) if _ASKING.search(line)]
    if len(numbers) >= least and base_language(language or "") not in _FRENCH:
        # If the language is unknown, attached commas and periods show that the text may be French.
        attached = sum(1 for line in lines if _ATTACHED.search(line))
        if len(numbers) > attached:
            found.append(f"{some_lines(numbers)} with a space before punctuation, ' ?' or ' !' (detokenise)")
    if any(not line.isascii() for line in lines):
        numbers = [number for number, line in enumerate(lines, 1) if _BETWEEN.search(line)]
        spaces = sum(len(_BETWEEN.findall(lines[number - 1])) for number in numbers)
        if len(numbers) > 1 and spaces >= _SPACED * sum(len(_CHARACTER.findall(line)) for line in lines):
            found.append(f"{some_lines(numbers)} with spaces in a script that has none (join the tokens)")
    return found


def _has_spaced_stop(line: str) -> bool:
    line = line.rstrip()
    return " , " in line or line.endswith(" ,") or (line.endswith(" .") and not line.endswith(". ."))


def in_subword_nmt(lines: Sequence[str]) -> list[int]:
    """Return the numbers, from 1, of the lines with subword-nmt's mark @@; [] if so few that they may be text."""
    numbers = [number for number, line in enumerate(lines, 1) if _SUBWORD_NMT.search(line)]
    return numbers if len(numbers) >= _REMNANT_SHARE * len(lines) else []


def unknown_words(lines: Sequence[str]) -> list[int]:
    """Return the numbers, from 1, of the lines with `<unk>`, `<<unk>>` or SentencePiece's `⁇`."""
    return [number for number, line in enumerate(lines, 1) if UNKNOWN.search(line)]
