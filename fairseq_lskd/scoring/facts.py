"""How a model was trained, by the options in its checkpoint; labels are what somebody typed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError
from ..teachers.checkpoint import read_checkpoint

#: Label -> the option that says the same, of a student with a teacher beside it.
BESIDE = {"temperature": "kd_temperature", "kd_weight": "kd_weight"}
#: Label -> option, and the value at which a record says nothing of it.
_UNUSUAL = {"divergence": ("kd_divergence", "forward_kl"), "label_smoothing": ("label_smoothing", 0.0)}


def facts_of(cfg: Mapping[str, Any], role: str | None = None) -> dict[str, Any]:
    """What the options of a training say of it, by the names of labels; only what had a part in it.

    Args:
        cfg: a checkpoint's, by section.
        role: teacher, whose label smoothing is `teacher_smoothing`, or student.
    """
    options = cfg.get("criterion")
    name = getattr(options, "_name", None)
    found: dict[str, Any] = {"seed": getattr(cfg.get("common"), "seed", None)}
    if name in ("word_kd", "seq_kd"):
        cache = getattr(options, "teacher_cache", None)
        beside = cache is not None or getattr(options, "teacher_path", None) not in (None, "none")
        found["method"] = "word" if name == "word_kd" else "both" if beside else "sequence"
        if beside:
            found |= {label: getattr(options, option, None) for label, option in BESIDE.items()}
        if beside:
            found["cached"] = cache is not None
        found["reference_weight"] = getattr(options, "reference_weight", None)
        for label, (option, usual) in _UNUSUAL.items():
            value = getattr(options, option, usual)
            found[label] = None if value == usual else value
    elif role == "teacher":
        found["teacher_smoothing"] = getattr(options, "label_smoothing", 0.0 if name == "cross_entropy" else None)
    return {label: _plain(value) for label, value in found.items() if value is not None}


class Budget(NamedTuple):
    """How long a training may be, and by what it is judged."""

    max_updates: int | None  #: None: no limit
    patience: int | None  #: validations without a better one that end it; None: they do not
    metric: str  #: of validation, which the best checkpoint has
    maximize: bool  #: whether a larger value of it is a better one
    subset: str  #: the validation set that counts


def budget_of(cfg: Mapping[str, Any]) -> Budget:
    """What the options of a training say of its end; fairseq's defaults where they say nothing.

    Args:
        cfg: a checkpoint's, by section.
    """
    saved, metric = cfg.get("checkpoint"), getattr(cfg.get("checkpoint"), "best_checkpoint_metric", None)
    subset = getattr(cfg.get("dataset"), "valid_subset", None)
    return Budget(
        _count(getattr(cfg.get("optimization"), "max_update", None)),
        _count(getattr(saved, "patience", None)),
        metric if isinstance(metric, str) else "loss",
        getattr(saved, "maximize_best_checkpoint_metric", False) is True,
        # fairseq takes the first of several.
        subset.split(",")[0] if isinstance(subset, str) else "valid",
    )


def _count(value: Any) -> int | None:
    """A number above 0; to fairseq, others are no limit."""
    return value if isinstance(value, int) and value > 0 else None


def described(checkpoint: Path, labels: Mapping[str, Any]) -> dict[str, Any]:
    """The labels of a run with what its checkpoint says, which decides.

    Raises:
        UserError: if the two contradict each other, naming both.
    """
    facts = facts_of(read_checkpoint(checkpoint)["cfg"], labels.get("role"))
    wrong = [
        f"{label} {facts[label]} (label: {labels[label]})"
        for label in facts
        if labels.get(label) is not None and not _same(labels[label], facts[label])
    ]
    if wrong:
        raise UserError(
            f"{checkpoint} was trained with {', '.join(wrong)}: its run's labels say otherwise. Call the command that "
            "trained it once more, without these labels (it trains nothing, and writes run.json anew), or name the "
            "checkpoint of that run"
        )
    # As they were written where they are right.
    return {**facts, **{label: value for label, value in labels.items() if value is not None or label not in facts}}


def _plain(value: Any) -> Any:
    """Enumerations by their values."""
    return getattr(value, "value", value) if not isinstance(value, bool | int | float | str) else value


def _same(label: Any, fact: Any) -> bool:
    try:
        return float(label) == float(fact)
    except (TypeError, ValueError):
        return str(label).lower() == str(fact).lower()
