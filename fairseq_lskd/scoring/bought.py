"""What distilling buys: each model's quality, speed and size, as fairseq decodes it and as `lskd export` ships it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..analysis.quantiles import t_quantile
from .taught import method_of, plain_system, share_label, teacher_of

#: Of a parameter as fairseq keeps it for inference.
BYTES = 4


@dataclass(frozen=True)
class Point:
    """A model in one of its two forms."""

    bleu: float
    half: float | None  #: of the 95 % interval of the mean over seeds; None for one seed
    rate: float | None  #: sentences per second
    megabytes: float | None


@dataclass(frozen=True)
class Model:
    """A system, and its two points in the picture."""

    name: str
    kind: str  #: teacher, or how the student was taught: none, word, sequence, both
    fairseq: Point
    exported: Point | None
    stored: str = ""  #: what the exported weights are stored as, int8
    closed: str = ""  #: share of the gap that it closes, as in a table

    @property
    def best(self) -> Point:
        """As it is shipped, where that was measured."""
        return self.exported or self.fairseq


def models_of(records: Sequence[dict[str, Any]]) -> list[Model]:
    """The models with BLEU, in their order.

    Args:
        records: one a system, as of `over_seeds.mean_records`, with shares of the gap as of `taught.add_shares`.
    """
    return [_model(record) for record in records if record.get("bleu") is not None]


def best_student(records: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The student of a teacher with the highest BLEU, as it is shipped where that was measured."""
    taught = [
        record for record in records if record.get("bleu") is not None and method_of(record) not in (None, "none")
    ]
    return max(taught, key=lambda record: _model(record).best.bleu, default=None)


def plain_of(student: dict[str, Any], records: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The student of the same size without a teacher."""
    firsts = {str(record["system"]): record for record in records if record.get("bleu") is not None}
    return firsts.get(plain_system(student, firsts) or "")


def headline(records: Sequence[dict[str, Any]]) -> str:
    """The point of distilling in one line: the best student against its teacher in fairseq; empty without the two.

    Where both are exported, the line also has their speeds' ratio as such: what is left is CTranslate2's own.
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
            speed += f" ({_times(own.best.rate / whole.exported.rate)} x the teacher's in {whole.stored})"
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
    count, parameters = record.get("seeds") or 1, record.get("parameters")
    fairseq = Point(
        record["bleu"],
        _half(record.get("bleu_std"), count),
        record.get("sentences_per_second"),
        parameters * BYTES / 1e6 if parameters else None,
    )
    exported = None
    if shipped.get("bleu") is not None:
        megabytes = shipped["bytes"] / 1e6 if shipped.get("bytes") else None
        half = _half(shipped.get("bleu_std"), count)
        exported = Point(shipped["bleu"], half, shipped.get("sentences_per_second"), megabytes)
    stored = str(shipped.get("compute_type", ""))
    closed = share_label(record).removesuffix(" of the gap")
    return Model(str(record["system"]), _kind(record), fairseq, exported, stored, closed)


def _half(std: float | None, seeds: int) -> float | None:
    return None if std is None or seeds < 2 else t_quantile(seeds - 1) * std / math.sqrt(seeds)
