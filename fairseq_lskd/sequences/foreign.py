"""Read translations of other toolkits, and convert them to records of `nbest`.

The source is in a separate file, one sentence per line. The caller checks the numbers of lines.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..lines import read_lines
from .harvest import harvest
from .nbest import EMPTY
from .pieces import to_text
from .source_text import SourceText

Scored = tuple[str, float]  #: a translation, in text or pieces, and its score


def read_text(path: Path, n: int = 1) -> Iterator[list[Scored]]:
    """Yield the translations of each sentence: `n` consecutive lines. All scores are 0."""
    lines = zip(read_lines(path), itertools.repeat(0.0), strict=False)
    while block := list(itertools.islice(lines, n)):
        yield block


def read_moses(path: Path, sentences: int) -> Iterator[list[Scored]]:
    """Read n-best lists of Moses and Marian: `ID ||| TEXT ||| FEATURES ||| SCORE`, with ascending IDs from 0.

    Raises:
        UserError: if a line has another form, or its ID is out of order or not in the corpus.
    """
    done = 0
    for index, group in itertools.groupby(_moses_lines(path, sentences), key=itemgetter(0)):
        yield from itertools.repeat([], index - done)
        yield [(text, score) for _, text, score in group]
        done = index + 1
    yield from itertools.repeat([], sentences - done)


def read_fairseq(path: Path, source: Path) -> Iterator[list[Scored]]:
    """Read the output of fairseq-generate for the text `source`. Scores become natural logarithms.

    Raises:
        UserError: as in `harvest`.
    """
    text = SourceText(source, list(read_lines(source)))
    for hypotheses in harvest(path, len(text.lines), source=text):
        yield [(hypothesis.text, hypothesis.score * math.log(2)) for hypothesis in hypotheses]


def to_records(source: Path, translations: Iterable[list[Scored]], scheme: str) -> Iterator[dict[str, Any]]:
    """Yield a record for each source line. Empty translations, and translations of empty sources, are left out.

    A record says with "given" how many translations its block had, and each hypothesis with "place" which it was.

    Args:
        scheme: segmentation scheme of translations in pieces, one of `pieces.SCHEMES`.
    """
    for index, (line, block) in enumerate(zip(read_lines(source), translations, strict=False)):
        hypotheses = [
            {
                "tokens": tokens,
                "text": to_text(tokens, scheme),
                "score": score,
                "length": len(tokens.split()) + 1,
                "place": place,
            }
            for place, (tokens, score) in enumerate(block)
            if tokens.strip() and line.strip()
        ]
        record = {"id": index, "source": line, "hypotheses": hypotheses, "given": len(block)}
        yield record if line.strip() else record | {"skipped": EMPTY}


def _moses_lines(path: Path, sentences: int) -> Iterator[tuple[int, str, float]]:
    last = 0
    for number, line in enumerate(read_lines(path), 1):
        fields = [field.strip() for field in line.split("|||")]
        try:
            index, text, score = int(fields[0]), fields[1], _finite(fields[3])
        except (ValueError, IndexError):
            raise UserError(
                f"{path}, line {number}: expected 'ID ||| TEXT ||| FEATURES ||| SCORE', found {line[:60]!r}"
            ) from None
        if not last <= index < sentences:
            expected = f"{last} or more" if 0 <= index < last else f"0 to {sentences - 1:,} (lines of --source)"
            raise UserError(f"{path}, line {number}: found the ID {index}, expected {expected}")
        last = index
        yield index, text, score


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError
    return number
