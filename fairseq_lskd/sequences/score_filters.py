"""Filters by scores in separate files, in addition to the scores that the selection uses."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from .candidates import Candidates
from .nbest import given_count, places
from .outside_scores import read_scores
from .resumable import manifest_path, read_manifest

WORST, BELOW = "--filter-worst", "--filter-below"


@dataclass(frozen=True)
class ScoreFilter:
    """Drops the hypotheses whose score in a file is below a threshold. The highest score is the best.

    Raises:
        UserError: if `limit` is out of range.
    """

    flag: str  #: `WORST` or `BELOW`
    path: Path  #: a file that `outside_scores` reads
    limit: float  #: the share of hypotheses to drop, or the threshold
    least: float = -math.inf  #: the threshold, set by `learn`

    def __post_init__(self) -> None:
        if self.flag == WORST and not 0 < self.limit < 1:
            raise UserError(f"{WORST} {self.path} {self.limit:g}: expected a share above 0 and below 1")
        if not math.isfinite(self.limit):
            raise UserError(f"{self.flag} {self.path} {self.limit:g}: expected a finite number")

    @property
    def reason(self) -> str:
        """The reason for a drop, as in the report."""
        name = self.path.name
        return f"lowest {100 * self.limit:g} % in {name}" if self.flag == WORST else f"below {self.limit:g} in {name}"


def make_filters(
    worst: Iterable[tuple[Path, float]], below: Iterable[tuple[Path, float]], candidates: Candidates
) -> list[ScoreFilter]:
    """Build the filters, and check that files of `lskd rescore` have the scores of this list.

    Raises:
        UserError: as in `ScoreFilter` and `check_scores`.
    """
    given = [(WORST, *each) for each in worst] + [(BELOW, *each) for each in below]
    filters = [ScoreFilter(flag, path, limit) for flag, path, limit in given]
    for each in filters:
        if not each.path.is_file():
            raise UserError(f"{each.flag} {each.path}: no such file. Expected scores of `lskd rescore`")
        check_scores(each.flag, each.path, candidates)
    return filters


def check_scores(flag: str, scores: Path, candidates: Candidates) -> dict[str, Any] | None:
    """Check that a file of `lskd rescore` has the scores of this list.

    Returns:
        The recorded identity of the run, or None if there is no manifest, because other software wrote the file.

    Raises:
        UserError: if the file was changed since it was written, or has the scores of another list.
    """
    manifest = read_manifest(scores)
    if manifest is None:
        return None
    run: dict[str, Any] = manifest["run"]
    scored, found = ({k: v for k, v in each.items() if k.startswith("NBEST")} for each in (run, candidates.digests))
    if scored and scored != found:
        names = " ".join(map(str, (candidates.path, *candidates.more)))
        raise UserError(
            f"{flag} {scores} has the scores of another list than {names} ({manifest_path(scores).name} records other "
            "digests). Run lskd rescore on the same list, or the same lists"
        )
    return run


def learn(filters: Sequence[ScoreFilter], records: Iterable[dict[str, Any]]) -> list[ScoreFilter]:
    """Set the thresholds of the filters. Memory grows by 8 bytes per hypothesis and filter.

    Raises:
        UserError: as in `read_scores`.
    """
    found = [array("d") for _ in filters]
    for record, columns in _with_scores(records, filters):
        for values, scores in zip(found, columns, strict=True):
            values.extend(scores[place] for place in places(record))
    return [replace(each, least=_threshold(each, values)) for each, values in zip(filters, found, strict=True)]


def mark(records: Iterable[dict[str, Any]], filters: Sequence[ScoreFilter]) -> Iterator[dict[str, Any]]:
    """Yield the records. Hypotheses to drop get "refused": the reason, and the score that is too low."""
    for record, columns in _with_scores(records, filters):
        hypotheses = []
        for place, hypothesis in zip(places(record), record["hypotheses"], strict=True):
            low = ((each.reason, s[place]) for each, s in zip(filters, columns, strict=True) if s[place] < each.least)
            refused = next(low, None)
            hypotheses.append(hypothesis | {"refused": refused} if refused else hypothesis)
        yield record | {"hypotheses": hypotheses}


def _threshold(each: ScoreFilter, scores: array[float]) -> float:
    if each.flag == BELOW:
        return each.limit
    place = int(each.limit * len(scores))
    return float(np.partition(np.array(scores), place)[place]) if scores else -math.inf


def _with_scores(
    records: Iterable[dict[str, Any]], filters: Sequence[ScoreFilter]
) -> Iterator[tuple[dict[str, Any], list[list[float]]]]:
    first, *copies = itertools.tee(records, len(filters) + 1)
    columns = [
        read_scores(each.path, map(given_count, copy), flag=each.flag)
        for each, copy in zip(filters, copies, strict=True)
    ]
    for record, *scores in zip(first, *columns, strict=True):
        yield record, scores
