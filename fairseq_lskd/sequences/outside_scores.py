"""Read external scores of hypotheses: quality estimation, a metric, another model.

A file has one number per line for each hypothesis, in the order of the list. Or it has one JSON array per source
sentence, with a number for each of its hypotheses (`[]` if it has none).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import UserError
from ..lines import read_lines
from ..reading import NUMBER, parse_json


def is_json(path: Path) -> bool:
    """Return whether a file has JSON arrays. The first line that is not blank decides."""
    return next((line.strip() for line in read_lines(path) if line.strip()), "").startswith("[")


def read_scores(
    path: Path, counts: Iterable[int], negate: bool = False, flag: str = "--scores"
) -> Iterator[list[float]]:
    """Yield the scores of each sentence.

    Args:
        counts: number of hypotheses of each sentence; consumed lazily.
        negate: whether to negate the scores, if the lowest score is the best.
        flag: the flag that names the file, for messages.

    Raises:
        UserError: if a score is not a finite number, or the numbers of scores and hypotheses differ.
    """
    flag, sign = f"{flag} {path}", -1.0 if negate else 1.0
    arrays = is_json(path)
    lines = enumerate(read_lines(path), 1)
    for sentence, count in enumerate(counts, 1):
        if arrays:
            number, line = next(lines, (0, ""))
            if not number:
                raise UserError(f"{flag} ends before sentence {sentence:,}: expected an array for each source sentence")
            found = _array(f"{flag}, line {number}", line)
            if len(found) != count:
                raise UserError(
                    f"{flag}, line {number}: found {len(found)} scores, expected {count}, one for each hypothesis"
                )
        else:
            found = [
                _number(f"{flag}, line {number}", line) for _, (number, line) in zip(range(count), lines, strict=False)
            ]
            if len(found) != count:
                raise UserError(f"{flag} ends at sentence {sentence:,}: expected a score for each hypothesis")
        yield [sign * score for score in found]
    if (more := next(lines, None)) is not None:
        raise UserError(f"{flag}, line {more[0]}: found more scores than hypotheses. Do they belong to this list?")


def _number(where: str, text: str) -> float:
    try:
        if math.isfinite(number := float(text)):
            return number
    except ValueError:
        pass
    raise UserError(f"{where}: expected a finite number, found {text[:40]!r}")


def _array(where: str, text: str) -> list[float]:
    try:
        return [float(number) for number in parse_json(text, [NUMBER])]
    except ValueError as error:
        raise UserError(f"{where}: expected an array of numbers: {error}") from None
