"""A teacher's translations that were made elsewhere, as records like those of `nbest`.

The source comes from a file of its own, one sentence a line. That the numbers of lines fit is for the caller to see.
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

Scored = tuple[str, float]  #: a translation as it was given, and its score


def read_text(path: Path, n: int = 1) -> Iterator[list[Scored]]:
    """`n` translations of every sentence, a line each; all scores are 0."""
    lines = zip(read_lines(path), itertools.repeat(0.0), strict=False)
    while block := list(itertools.islice(lines, n)):
        yield block


def read_moses(path: Path, sentences: int) -> Iterator[list[Scored]]:
    """The n-best lists of Moses and Marian: `ID ||| TEXT ||| FEATURES ||| SCORE`, IDs from 0, in ascending order.

    Raises:
        UserError: naming the line that is none of these, or of a sentence that the corpus does not have.
    """
    done = 0
    for index, group in itertools.groupby(_moses_lines(path, sentences), key=itemgetter(0)):
        yield from itertools.repeat([], index - done)
        yield [(text, score) for _, text, score in group]
        done = index + 1
    yield from itertools.repeat([], sentences - done)


def read_fairseq(path: Path, sentences: int) -> Iterator[list[Scored]]:
    """What fairseq-generate printed. Its scores are to base 2; these are natural logarithms.

    Raises:
        UserError: as `harvest` does.
    """
    for hypotheses in harvest(path, sentences):
        yield [(hypothesis.text, hypothesis.score * math.log(2)) for hypothesis in hypotheses]


def to_records(source: Path, translations: Iterable[list[Scored]], scheme: str) -> Iterator[dict[str, Any]]:
    """Each source line with its translations; an empty one counts as none, and an empty source has none.

    A record says with "given" how many translations its block had, and each hypothesis with "place" which it was.

    Args:
        scheme: the pieces that translations may be in, one of `pieces.SCHEMES`.
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
            where = f"comes after {last}" if 0 <= index < last else f"is not one of the {sentences:,} of --source"
            raise UserError(f"{path}, line {number}: sentence {index} {where}")
        last = index
        yield index, text, score


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError
    return number
