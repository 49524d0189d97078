"""Join several n-best lists of the same sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..errors import UserError
from .nbest import read_nbest


def read_joined(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield each sentence with the hypotheses of all lists, in the order of the lists.

    Raises:
        UserError: as in `read_nbest`, or if the lists have different sentences.
    """
    for records in zip_longest(*map(read_nbest, paths)):
        first = records[0]
        for path, record in zip(paths, records, strict=True):
            if first is None or record is None or (record["id"], record["source"]) != (first["id"], first["source"]):
                place = (record or first)["id"] if record or first else "?"
                raise UserError(
                    f"{path} and {paths[0]} differ in sentence {place}: lists that are joined need the same source "
                    "sentences in the same order. Translate the same corpus, or select from each list and join the "
                    "folders with --add"
                )
        hypotheses = [hypothesis for record in records for hypothesis in record["hypotheses"]]
        joined = {**first, "hypotheses": hypotheses}
        if hypotheses:
            joined.pop("skipped", None)
        yield joined
