"""What makes a score wrong without a word: text that is not what it should be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..data.bitext import some_lines

#: Traces of a step that was not undone -> what it was.
_REMNANTS = (
    (re.compile("▁"), "SentencePiece's mark ▁ (decode it first; of fairseq-generate: --remove-bpe sentencepiece)"),
    (re.compile(r"@@( |$)"), "subword-nmt's mark @@ (of fairseq-generate: --remove-bpe)"),
    (re.compile(r"(^| )@-@ |&(apos|quot|amp|lt|gt|#124|#91|#93);"), "the Moses tokeniser's @-@ or &apos; (detokenise)"),
)
#: Lines that end in " .": sacreBLEU warns of 100. Of a small file, this share.
_MANY, _SHARE = 100, 0.1


def looks_tokenised(lines: Sequence[str], periods: bool = True) -> list[str]:
    """In words, what shows that lines are pieces or tokens rather than text; nothing if they look like text.

    `periods`: whether many lines that end in " ." count; a model that has learnt little may write so by itself.
    """
    found = []
    for trace, meaning in _REMNANTS:
        numbers = [number for number, line in enumerate(lines, 1) if trace.search(line)]
        if numbers:
            found.append(f"{some_lines(numbers)} with {meaning}")
    numbers = [number for number, line in enumerate(lines, 1) if line.rstrip().endswith(" .")]
    if periods and len(numbers) >= min(_MANY, max(2, _SHARE * len(lines))):
        found.append(f"{some_lines(numbers)} that end in a tokenised period, ' .' (detokenise)")
    return found


def empty_lines(lines: Sequence[str]) -> list[int]:
    """Numbers, from 1, of lines that say nothing."""
    return [number for number, line in enumerate(lines, 1) if not line.strip()]


def _normal(line: str) -> str:
    return " ".join(line.split()).casefold()


def overlap(references: Sequence[str], training: Iterable[str]) -> list[int]:
    """Numbers, from 1, of the references that are lines of the training text, but for case and white space."""
    wanted = {_normal(line) for line in references} - {""}
    known = wanted & {_normal(line) for line in training}
    return [number for number, line in enumerate(references, 1) if _normal(line) in known]
