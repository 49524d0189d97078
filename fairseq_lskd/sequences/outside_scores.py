"""Scores of hypotheses from elsewhere: quality estimation, a metric, another model.

A file has a number a line, for each hypothesis of the list in its order; or a line a source sentence, with a JSON array
of a number for each of its hypotheses (`[]` where it has none).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import UserError
from ..lines import read_lines
from ..reading import NUMBER, misfit, parse_json


def is_json(path: Path) -> bool:
    """Whether a file has arrays, going by its first line that says something."""
    return next((line.strip() for line in read_lines(path) if line.strip()), "").startswith("[")


def read_scores(
    path: Path, counts: Iterable[int], negate: bool = False, flag: str = "--scores"
) -> Iterator[list[float]]:
    """The scores of one sentence after another.

    Args:
        counts: how many hypotheses each sentence has, which is asked for when its scores are.
        negate: for scores of which the lowest is the best.
        flag: the flag that named the file, for messages.

    Raises:
        UserError: for a score that is no finite number, and if there are not as many as hypotheses.
    """
    flag, sign = f"{flag} {path}", -1.0 if negate else 1.0
    arrays = is_json(path)
    lines = enumerate(read_lines(path), 1)
    for sentence, count in enumerate(counts, 1):
        if arrays:
            number, line = next(lines, (0, ""))
            if not number:
                raise UserError(
                    f"{flag} ends before sentence {sentence:,}: expected an array for every source sentence"
                )
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
                raise UserError(f"{flag} ends at sentence {sentence:,}: expected a score for every hypothesis")
        yield [sign * score for score in found]
    if (more := next(lines, None)) is not None:
        raise UserError(f"{flag}, line {more[0]}: there are more scores than hypotheses; are they of this list?")


def _number(where: str, text: str) -> float:
    try:
        if math.isfinite(number := float(text)):
            return number
    except ValueError:
        pass
    raise UserError(f"{where}: expected a number, found {text[:40]!r}")


def _array(where: str, text: str) -> list[float]:
    try:
        found = parse_json(text)
        problem = misfit(found, [NUMBER])
    except ValueError as error:
        problem = str(error)
    if problem:
        raise UserError(f"{where}: expected an array of numbers: {problem}")
    return [float(number) for number in found]
