"""Whose student a model is: the digests of the teachers' checkpoints that its training learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..commands import option
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
        found |= translators(Path(weights).parent)
    return sorted(found)


def compared_types(command: Sequence[str]) -> int | None:
    """How many of the teacher's types a training's distillation loss compares; None: all, or not known."""
    counts = []
    if given := option(command, "--kd-top-k"):
        counts.append(given)
    if cache := option(command, "--teacher-cache"):
        counts += [_read(Path(cache, "cache.json"), "options", "--top-k")]
    numbers = [int(count) for count in counts if str(count).isdecimal()]
    return min(numbers, default=None)


def translators(selected: Path) -> set[str]:
    """The SHA-256 of the checkpoints that translated what is in a folder of `lskd select`."""
    record = selected / "select.json"
    return _digests(record, "translations", "run", "teacher") | _digests(record, "added", "teachers")


def _digests(path: Path, *keys: str) -> set[str]:
    """Those under these keys of a JSON file."""
    found = _read(path, *keys)
    try:
        return set(found.values() if isinstance(found, dict) else found)
    except TypeError:
        return set()


def _read(path: Path, *keys: str) -> Any:
    """What is under these keys of a JSON file; nothing in a folder that was moved or deleted."""
    try:
        found = read_json(path)
        for key in keys:
            found = found[key]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found
