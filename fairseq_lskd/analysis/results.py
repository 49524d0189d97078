"""Reading result records: what `lskd score` wrote to a run's result.json, and `lskd table` to a results.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UserError
from ..reading import Kind, misfit, read_json

#: What is measured of a system; a record has a part of it. A model that has diverged is no less measured.
MEASURED = (
    *("bleu", "chrf", "chrf++", "ter", "comet", "valid_ppl", "valid_accuracy", "valid_entropy", "valid_ece"),
    *("kl_to_truth", "train_nll_loss", "train_kd_loss", "train_seconds"),
    *("updates", "target_tokens", "validation_best", "last_fifth_gain"),
)
#: What a record says of the course of its training; no label of the run, and nothing that one choice changes.
COURSE = (
    *("updates", "target_tokens", "max_updates", "patience", "validation_metric", "validation_interval"),
    *("validation_best", "last_fifth_gain", "converged"),
)
EXPECTED = "the JSON that `lskd score` writes"
_MEASURE = Kind("a number, or nothing", lambda v: v is None or (isinstance(v, int | float) and not isinstance(v, bool)))
_LABEL = Kind("a text, a number or nothing", lambda value: value is None or isinstance(value, str | int | float))
_ANSWER = Kind("true, false or nothing", lambda value: value is None or isinstance(value, bool))
_WORDS = Kind("a list of texts", lambda v: v is None or (isinstance(v, list) and all(isinstance(w, str) for w in v)))
#: A system as `lskd export` ships it: scores, and how large and fast it is.
_EXPORTED = {
    **{f"{name}{std}?": _MEASURE for name in ("bleu", "chrf", "chrf++", "ter") for std in ("", "_std")},
    **{"sentences_per_second?": _MEASURE, "bytes": _MEASURE, "compute_type": str},
}
SHAPE = {
    "system": str,
    "exported?": (type(None), _EXPORTED),
    "speed_others_cores?": _MEASURE,
    **{f"{name}{std}?": _MEASURE for name in (*MEASURED, "parameters", "sentences_per_second") for std in ("", "_std")},
    **{f"{name}?": _LABEL for name in ("seed", "role", "method", "size", "strategy", "temperature", "cached")},
    **{f"{name}?": _LABEL for name in ("teacher_smoothing", "checkpoint_sha256", "speed_machine", "seeds", "test_set")},
    **{f"{name}?": _MEASURE for name in ("max_updates", "patience", "validation_interval")},
    **{"validation_metric?": _LABEL, "converged?": _ANSWER},
    **{f"{name}?": _WORDS for name in ("command", "teacher_sha256")},
}


def read_results(path: Path) -> list[dict[str, Any]]:
    """The records in a file that has one, or a list of them.

    Raises:
        UserError: naming the file and the field, if it is something else.
    """
    found = read_json(path, expected=EXPECTED)
    records = found if isinstance(found, list) else [found]
    for number, record in enumerate(records, start=1):
        if problem := misfit(record, SHAPE):
            place = f"record {number}: " if len(records) > 1 else ""
            raise UserError(f"{path}: {place}{problem}; expected {EXPECTED}")
    return records
