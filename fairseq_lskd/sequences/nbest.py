"""n-best lists as JSON lines: what `lskd translate` writes and `lskd select` reads.

One line a source sentence, in the order of the corpus:

    {"id": 7, "source": "▁ein ▁Hund", "hypotheses": [
      {"tokens": "▁a ▁dog", "text": "a dog", "score": -0.31, "length": 3, "token_scores": [-0.2, -0.5, -0.2]}]}

- `id`: the sentence's place in the whole corpus, from 0, whatever the shard.
- `source`: the line as it was given; pieces are joined by spaces.
- `hypotheses`: best first. `score` is the natural logarithm of the model's probability of the hypothesis, divided by
  `length ** lenpen`; `length` counts target tokens with the end mark; `token_scores`, if asked for, has as many.
- `count`: how often a sampled hypothesis was drawn, where `--merge-duplicates` wrote equal ones once.
- `skipped`: "empty" or "too long", only where a sentence was not translated; it has no hypotheses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..lines import read_lines
from ..reading import COUNT, LINE, NUMBER, POSITIVE, misfit, parse_json, shown
from .resumable import check_lines, read_manifest

EMPTY = "empty"
TOO_LONG = "too long"
HYPOTHESIS = {
    "tokens": LINE,
    "text": LINE,
    "score": NUMBER,
    "length": COUNT,
    "token_scores?": [NUMBER],
    "count?": POSITIVE,
}
RECORD = {"id": COUNT, "source": LINE, "hypotheses": [HYPOTHESIS]}


def to_line(record: dict[str, Any], teacher: str = "the teacher") -> str:
    """A record as one line, without its line end; `UserError` naming `teacher` where a score is not a finite number."""
    try:
        return json.dumps(record, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise UserError(
            f"sentence {record['id']} got a score that is not a number: the weights of {teacher} are broken, or too "
            "large for --compute-type float16"
        ) from None


def read_nbest(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file, plain or gzipped, each checked; all of them as many as its manifest says, if it has one.

    Raises:
        UserError: naming the line that is no such record or whose `id` does not follow on the last, or the numbers of
            lines or bytes that the file and its manifest have.
    """
    manifest = read_manifest(path)
    last, number = None, 0
    for number, line in enumerate(read_lines(path), 1):
        try:
            record = parse_json(line)
            problem = _problem(record, last)
        except ValueError as error:
            problem = f"not JSON ({error})"
        if problem:
            raise UserError(f"{path}, line {number:,}: {problem}; expected a record that `lskd translate` wrote")
        last = record["id"]
        yield record
    if manifest is not None:
        check_lines(path, number, manifest)


def _problem(record: Any, last: int | None) -> str | None:
    """What is wrong with a record, in words."""
    if problem := misfit(record, RECORD):
        return problem
    if last is not None and record["id"] != last + 1:
        return f'"id" {record["id"]} follows on {last}'
    hypotheses, skipped = record["hypotheses"], record.get("skipped")
    if skipped not in (None, EMPTY, TOO_LONG):
        return f'"skipped" is {shown(skipped)}'
    if (skipped is None) != bool(hypotheses):
        return "it has no hypotheses and is not marked as skipped" if not hypotheses else "it is skipped and translated"
    return None
