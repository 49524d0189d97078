"""What a checkpoint and the record of its run say of how it was trained."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..scoring.facts import facts_of
from ..scoring.lineage import teachers_of
from ..teachers.checkpoint import read_archive, read_checkpoint
from ..teachers.soundness import check_weights

#: Labels of a run that tell students of one teacher apart, beside the temperature.
SETTING = ("method", "size", "strategy", "cached", "kd_weight", "score_temperature", "reference_weight")


@dataclass(frozen=True)
class Origin:
    """How a model was trained; None where it is not known."""

    smoothing: float | None
    teacher_smoothing: float | None
    teacher_path: str | None
    temperature: float | None
    setting: dict[str, Any] = field(default_factory=dict)  #: how a student was taught, as far as it is known: `SETTING`
    seed: float | None = None
    teachers: tuple[str, ...] = ()  #: SHA-256 of its teachers' checkpoints, sorted


def origin(paths: str) -> Origin:
    """Of a checkpoint, or of the first of several joined by `:`.

    Raises:
        UserError: if it cannot be read, or a weight of any of them is not a number.
    """
    for path in paths.split(":"):
        check_weights(path, read_archive(path)["model"])
    first = Path(paths.split(":")[0])
    cfg = read_checkpoint(first)["cfg"]
    options = cfg.get("criterion")
    name = getattr(options, "_name", None)
    smoothing = getattr(options, "label_smoothing", 0.0 if name == "cross_entropy" else None)
    taught = getattr(options, "teacher_path", None)
    record = _record(first.parent / "run.json")
    found = {name: value for name, value in record["labels"].items() if value is not None}
    # What the checkpoint says decides; of a run that was not recorded it says all that there is to know.
    found |= facts_of(cfg)
    return Origin(
        None if smoothing is None else float(smoothing),
        _number(found.get("teacher_smoothing")),
        None if taught in (None, "none") else str(taught),
        _number(found.get("temperature")),
        {label: _plain(found[label]) for label in SETTING if label in found},
        _number(found.get("seed")),
        tuple(teachers_of(record)),
    )


def _plain(value: Any) -> Any:
    """A label as a number, if it is one however it was written."""
    number = _number(value)
    return value if number is None else number


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _record(path: Path) -> dict[str, Any]:
    """What `lskd run` recorded, as far as it is there."""
    nothing: dict[str, Any] = {"command": [], "inputs": {}, "labels": {}}
    try:
        found = nothing | json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return nothing
    return found if all(type(found[key]) is type(nothing[key]) for key in nothing) else nothing


def same_file(one: str, other: str) -> bool:
    """Whether two paths of checkpoints, each maybe several joined by `:`, are of the same files."""
    first, second = one.split(":"), other.split(":")
    return len(first) == len(second) and all(
        Path(a).resolve() == Path(b).resolve() for a, b in zip(first, second, strict=True)
    )
