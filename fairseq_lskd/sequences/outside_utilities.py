"""Read utilities of hypotheses against each other for minimum Bayes risk, from another metric such as COMET.

A file has one JSON array per source sentence, a square matrix: row i has the utilities of hypothesis i against each
hypothesis as its reference, in the order of the list (`[]` if the sentence has none). Higher is better.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..lines import read_lines
from ..reading import NUMBER, parse_json
from .nbest import given_count, places

FLAG = "--utilities"


def attach(records: Iterable[dict[str, Any]], path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records. Each hypothesis gets its "place" in the list and its row of the matrix, "utilities".

    Raises:
        UserError: if the file and the list differ in their numbers of sentences or hypotheses, or an entry is not a
            finite number.
    """
    lines = enumerate(read_lines(path), 1)
    for record in records:
        number, line = next(lines, (0, ""))
        if not number:
            raise UserError(
                f"{FLAG} {path} ends before sentence {record['id'] + 1:,}: expected a matrix for each source sentence"
            )
        matrix = _matrix(f"{FLAG} {path}, line {number}", line, given_count(record))
        hypotheses = [
            hypothesis | {"place": place, "utilities": matrix[place]}
            for place, hypothesis in zip(places(record), record["hypotheses"], strict=True)
        ]
        yield record | {"hypotheses": hypotheses}
    if (more := next(lines, None)) is not None:
        raise UserError(f"{FLAG} {path}, line {more[0]}: found more matrices than source sentences")


def _matrix(where: str, text: str, size: int) -> list[list[float]]:
    try:
        found: list[list[float]] = parse_json(text, [[NUMBER]])
    except ValueError as error:
        raise UserError(f"{where}: expected a matrix of numbers: {error}") from None
    if len(found) != size or any(len(row) != size for row in found):
        lengths = sorted({len(row) for row in found})
        raise UserError(
            f"{where}: found {len(found)} rows of {' or '.join(map(str, lengths)) or '0'} utilities, expected {size} "
            f"of {size}, one for each pair of hypotheses"
        )
    return found
