"""Compare labels about a student's teacher with the teacher's checkpoint, before the student is trained.

`lskd run` calls it. Scripts with longer steps before the training call
`python -m fairseq_lskd.records.teacher_labels SCRIPT TEACHERS NAME=VALUE ...`, where TEACHERS are paths joined by ':'.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ..commands import option, training_words
from ..errors import UserError, exit_on_user_error
from ..runs import read_labels
from .training import Training, same

#: Labels about the teacher, which are facts of its checkpoint.
NAMES = ("teacher_smoothing", "teacher_size")
#: Options of a training that lead to its teachers.
_LEAD = ("teacher_path", "teacher_cache", "sequence_weights")


def check_teacher_labels(command: Sequence[str], labels: Mapping[str, Any]) -> None:
    """Check the labels of a call of fairseq-train about its teachers, as far as these are found. Train nothing.

    Raises:
        UserError: if a label contradicts the teachers' checkpoints.
    """
    words = training_words(command)
    if not words or labels.get("role") == "teacher" or not any(labels.get(name) is not None for name in NAMES):
        return  # without loading torch
    criterion = {name: value for name in _LEAD if (value := option(words, f"--{name.replace('_', '-')}")) is not None}
    _check({"criterion": criterion, "task": {"data": words[0]}}, labels)


def _check(cfg: Mapping[str, Any], labels: Mapping[str, Any]) -> None:
    import fairseq  # noqa: F401  the compat layer then allows torch to load the classes in fairseq's checkpoints

    from .derive import Options, teachers_of

    found = Training(role="student", teachers=teachers_of(Options({"cfg": cfg})))
    facts = {name: getattr(found, name) for name in NAMES}
    wrong = [
        f"--{name.replace('_', '-')} {labels[name]} (label {name}): the teacher has {fact}"
        for name, fact in facts.items()
        if fact is not None and labels.get(name) is not None and not same(labels[name], fact)
    ]
    if wrong:
        raise UserError(
            f"{'; '.join(wrong)}, as its checkpoint and its run.json tell. Leave out the option, because the value is "
            "read from there, or give the teacher that you mean"
        )


if __name__ == "__main__":
    with exit_on_user_error(sys.argv[1]):
        _check({"criterion": {"teacher_path": sys.argv[2]}}, read_labels(sys.argv[3:]))
