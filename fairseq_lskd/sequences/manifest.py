"""The manifest in a folder of `lskd select`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..reading import read_value

MANIFEST = "select.json"


def translators(folder: Path) -> set[str]:
    """Return the SHA-256 of the checkpoints that translated the pairs of a folder, as far as its manifest tells."""
    found: list[Any] = []
    for keys in (("translations", "run", "teacher"), ("added", "teachers")):
        value = read_value(folder / MANIFEST, *keys)
        found += value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return {digest for digest in found if isinstance(digest, str)}
