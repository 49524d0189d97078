"""Does text look as if a tokeniser had gone over it, or as if it were in pieces? The one place that judges it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import regex

from .bitext import some_lines
from .writing_systems import UNSPACED_CHARACTER, base_language

LOOKED_AT = 20_000  #: lines of a training text, which are enough to judge it by
#: Traces that no text has -> what they are.
_REMNANTS = (
    (re.compile("▁"), "SentencePiece's mark ▁ (decode it first; of fairseq-generate: --remove-bpe sentencepiece)"),
    (re.compile(r"@@( |$)"), "subword-nmt's mark @@ (of fairseq-generate: --remove-bpe)"),
    (re.compile(r"(^| )@-@ |&(apos|quot|amp|lt|gt|#124|#91|#93);"), "the Moses tokeniser's @-@ or &apos; (detokenise)"),
)
#: The share of lines with such a trace from which on it is no slip: web text has an &amp; now and then.
_REMNANT_SHARE = 0.001
_WIDE = re.compile(r"\S [\u3002\u3001\uff0c\uff01\uff1f\uff1b\uff1a]")
#: In French a space is before these, too.
_ASKING = re.compile(r" [?!]( |$)")
_FRENCH = ("fr", "fra", "fre", "frm", "br", "bre")
#: Punctuation that follows its word; not the point and the comma in numbers.
_ATTACHED = re.compile(r"\w[,.?!](?=\s|$)")
#: Lines with a space before punctuation are no slips if they are 100 or 1 % of a file, whichever is more, or 10 %.
_MANY, _SHARE_OF_MANY, _SHARE = 100, 0.01, 0.1
#: Scripts without spaces: spaces between two of their characters, as a share of all of these. Thai puts one between
#: clauses, some twenty characters apart; a tokeniser puts one every two to six.
_BETWEEN = regex.compile(rf"(?<={UNSPACED_CHARACTER}) (?={UNSPACED_CHARACTER})")
_CHARACTER = regex.compile(UNSPACED_CHARACTER)
_SPACED = 0.1
#: What models and fairseq write for a word that they do not know.
_UNKNOWN = re.compile(r"<unk>|⁇", re.IGNORECASE)


def looks_tokenised(lines: Sequence[str], language: str | None = None, punctuation: bool = True) -> list[str]:
    """In words, what shows that lines are pieces or tokens rather than text; nothing if they look like text.

    Args:
        language: its code, if it is known: French has spaces before question marks.
        punctuation: whether spaces count; a model that has learnt little may write such by itself.
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
        # French of an unknown language is told by its commas and periods.
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


def unknown_words(lines: Sequence[str]) -> list[int]:
    """Numbers, from 1, of the lines with `<unk>`, `<<unk>>` or SentencePiece's `⁇`."""
    return [number for number, line in enumerate(lines, 1) if _UNKNOWN.search(line)]
