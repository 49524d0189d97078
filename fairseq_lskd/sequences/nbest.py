"""n-best lists as JSON lines: what `lskd translate` writes and `lskd select` reads.

One line per source sentence, in the order of the corpus:

    {"id": 7, "source": "▁ein ▁Hund", "hypotheses": [
      {"tokens": "▁a ▁dog", "text": "a dog", "score": -0.31, "length": 3, "token_scores": [-0.2, -0.5, -0.2]}]}

- `id`: index of the sentence in the whole corpus, from 0, also in shards.
- `source`: the input line; pieces are joined by spaces.
- `hypotheses`: best first. `score` is the natural logarithm of the model's probability of the hypothesis, divided by
  `length ** lenpen`. `length` is the number of target tokens, end-of-sentence token included. `token_scores`
  (optional) has the log-probability of each of these tokens. Language tokens that a multilingual model generates are
  left out of all fields but `score` and `length`.
  `count` (optional) is the number of times that a sample was drawn, if `--merge-duplicates` merged equal ones.
- `skipped`: "empty" or "too long", only if the sentence was not translated. It then has no hypotheses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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
#: What other readers add to a hypothesis (`foreign`, `outside_utilities`, `score_filters`). In a file it means nothing.
_ADDED = ("place", "utilities", "refused")


def to_line(record: dict[str, Any], teacher: str = "the teacher") -> str:
    """Return a record as one line, without its line end. Raise a `UserError` that names `teacher` for NaN or inf."""
    try:
        return json.dumps(record, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise UserError(
            f"sentence {record['id']} got a score that is not a finite number. The weights of {teacher} are broken, or "
            "too large for --compute-type float16"
        ) from None


def read_nbest(path: Path) -> Iterator[dict[str, Any]]:
    """Read and check the records of a file, plain or gzipped.

    Raises:
        UserError: if a line is not a record, an `id` does not follow the previous one, or the file has other lines or
            bytes than its manifest (if it has one) says.
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
            raise UserError(f"{path}, line {number:,}: {problem}; expected a record of `lskd translate`")
        last = record["id"]
        record.pop("given", None)
        for hypothesis in record["hypotheses"]:
            for name in _ADDED:
                hypothesis.pop(name, None)
        yield record
    if manifest is not None:
        check_lines(path, number, manifest)


def _problem(record: Any, last: int | None) -> str | None:
    """Return what is wrong with a record, or None."""
    if problem := misfit(record, RECORD):
        return problem
    if last is not None and record["id"] != last + 1:
        return f'"id" is {record["id"]}, expected {last + 1}'
    hypotheses, skipped = record["hypotheses"], record.get("skipped")
    if skipped not in (None, EMPTY, TOO_LONG):
        return f'"skipped" is {shown(skipped)}, expected "{EMPTY}" or "{TOO_LONG}"'
    if (skipped is None) != bool(hypotheses):
        return 'found hypotheses and "skipped"' if hypotheses else 'found neither hypotheses nor "skipped"'
    return None


def places(record: Mapping[str, Any]) -> list[int]:
    """Return the index of each hypothesis in the input file, which may also have empty hypotheses."""
    return [hypothesis.get("place", rank) for rank, hypothesis in enumerate(record["hypotheses"])]


def given_count(record: Mapping[str, Any]) -> int:
    """Return the number of hypotheses that the input file has for a sentence, empty ones included."""
    return int(record.get("given", len(record["hypotheses"])))
