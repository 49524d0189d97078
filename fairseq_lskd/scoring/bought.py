"""Quality, speed and size of each model, in fairseq and as exported by `lskd export`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..analysis.quantiles import t_quantile
from .taught import method_of, plain_system, share_label, teacher_of

BYTES = 4  #: per parameter in fairseq's inference (float32)


@dataclass(frozen=True)
class Point:
    """The measurements of a model in fairseq or as exported."""

    bleu: float
    half: float | None  #: half of the 95 % interval of the mean over seeds; None for one seed
    rate: float | None  #: sentences per second
    megabytes: float | None


@dataclass(frozen=True)
class Model:
    """A system and its two points in the plot."""

    name: str
    kind: str  #: teacher, or the student's method: none, word, sequence, both
    fairseq: Point
    exported: Point | None
    stored: str = ""  #: data type of the exported weights, such as int8
    closed: str = ""  #: share of the gap closed, as in a table

    @property
    def best(self) -> Point:
        """The exported model if it was measured, else the one in fairseq."""
        return self.exported or self.fairseq


def models_of(records: Sequence[dict[str, Any]]) -> list[Model]:
    """Return the models that have BLEU, in the order of the records.

    Args:
        records: one per system (`over_seeds.mean_records`), with shares of the gap (`taught.add_shares`).
    """
    return [_model(record) for record in records if record.get("bleu") is not None]


def best_student(records: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the distilled student with the highest BLEU, of its exported form if that was measured."""
    taught = [
        record for record in records if record.get("bleu") is not None and method_of(record) not in (None, "none")
    ]
    return max(taught, key=lambda record: _model(record).best.bleu, default=None)


def plain_of(student: dict[str, Any], records: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the student of the same size that was trained without a teacher."""
    firsts = {str(record["system"]): record for record in records if record.get("bleu") is not None}
    return firsts.get(plain_system(student, firsts) or "")


def headline(records: Sequence[dict[str, Any]]) -> str:
    """Compare the best student with its teacher in one line. Return "" if there is no such pair.

    The student is compared as exported, if it was, with the teacher in fairseq. If both were exported, the line also
    has the ratio of the exported models' speeds, which leaves out the speedup of CTranslate2.
    """
    student = best_student(records)
    teacher = teacher_of(student, records) if student else None
    if student is None or teacher is None or not teacher.get("bleu"):
        return ""
    own, whole = _model(student), _model(teacher)
    parts = [f"{100 * own.best.bleu / whole.fairseq.bleu:.0f} % of its BLEU"]
    if own.best.megabytes and whole.fairseq.megabytes:
        parts.insert(0, f"{100 * own.best.megabytes / whole.fairseq.megabytes:.0f} % of its size")
    if own.best.rate and whole.fairseq.rate:
        speed = f"{_times(own.best.rate / whole.fairseq.rate)} x the speed of its teacher"
        if own.exported and whole.exported and whole.exported.rate:
            speed += f" ({_times(own.best.rate / whole.exported.rate)} x the teacher in {whole.stored})"
        parts.insert(0, speed)
    else:
        parts[0] = parts[0].replace("its", "its teacher's", 1)
    return f"{own.name}{f' in {own.stored}' if own.exported else ''}: {', '.join(parts)}"


def _times(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 20 else f"{ratio:.1f}"


def _kind(record: dict[str, Any]) -> str:
    return "teacher" if record.get("role") == "teacher" else str(record.get("method") or "none")


def _model(record: dict[str, Any]) -> Model:
    shipped = record.get("exported") or {}
    parameters = record.get("parameters")
    fairseq = Point(
        record["bleu"],
        _half(record),
        record.get("sentences_per_second"),
        parameters * BYTES / 1e6 if parameters else None,
    )
    exported = None
    if shipped.get("bleu") is not None:
        megabytes = shipped["bytes"] / 1e6 if shipped.get("bytes") else None
        exported = Point(shipped["bleu"], _half(shipped), shipped.get("sentences_per_second"), megabytes)
    stored = str(shipped.get("compute_type", ""))
    closed = share_label(record).removesuffix(" of the gap")
    return Model(str(record["system"]), _kind(record), fairseq, exported, stored, closed)


def _half(means: Mapping[str, Any]) -> float | None:
    std, seeds = means.get("bleu_std"), means.get("seeds") or 1
    return None if std is None or seeds < 2 else t_quantile(seeds - 1) * std / math.sqrt(seeds)
