"""Whose student a model is: the digests of the teachers' checkpoints that its training learnt from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..analysis.logs import option
from ..reading import read_json


def teachers_of(made: dict[str, Any]) -> list[str]:
    """The SHA-256 of every teacher's checkpoint, sorted; nothing where they are not known.

    They are those of the teacher beside the student, of the one that wrote the cache, and of the one that translated.

    Args:
        made: the record of a training, as `lskd run` wrote it.
    """
    command, inputs = made["command"], made["inputs"]
    found = {inputs[path] for path in (option(command, "--teacher-path") or "").split(":") if path in inputs}
    if cache := option(command, "--teacher-cache"):
        found |= _digests(Path(cache, "cache.json"), "teachers")
    if weights := option(command, "--sequence-weights"):
        found |= _digests(Path(weights).parent / "select.json", "translations", "run", "teacher")
    return sorted(found)


def _digests(path: Path, *keys: str) -> set[str]:
    """Those under these keys of a JSON file; a folder that was moved or deleted tells nothing."""
    try:
        found = read_json(path)
        for key in keys:
            found = found[key]
        return set(found.values() if isinstance(found, dict) else found)
    except (OSError, ValueError, KeyError, TypeError):
        return set()
