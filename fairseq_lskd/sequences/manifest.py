"""The manifest in a folder of `lskd select`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..reading import read_value, value_at

MANIFEST, BINARISED, WEIGHTS = "select.json", "data-bin", "train.weights.npz"


def translators(folder: Path) -> set[str]:
    """Return the SHA-256 of the checkpoints that translated the pairs of a folder, as far as its manifest tells."""
    record = read_value(folder / MANIFEST)
    more = value_at(record, "more_translations")
    lists = [value_at(record, "translations"), *(more if isinstance(more, list) else ())]
    found: list[Any] = []
    for value in [value_at(record, "added", "teachers"), *(value_at(each, "run", "teacher") for each in lists)]:
        found += value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return {digest for digest in found if isinstance(digest, str)}
