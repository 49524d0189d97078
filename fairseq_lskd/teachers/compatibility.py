"""Does a teacher fit the task that its student is trained on? Everything that does not fit is said at once."""

from __future__ import annotations

import logging
import os
from itertools import zip_longest
from pathlib import Path
from typing import Any

from fairseq import utils
from fairseq.data import Dictionary, data_utils

from ..errors import UserError
from ..names import plain
from .known import is_bilingual
from .task import load_dictionary

logger = logging.getLogger(__name__)


def _options(task: Any) -> Any:
    return getattr(task, "cfg", None) or getattr(task, "args", None)


def task_name(options: Any) -> str | None:
    """What fairseq calls the task of these options."""
    return getattr(options, "_name", None) or getattr(options, "task", None)


def languages_of(options: Any) -> tuple[str, str] | None:
    """Source and target language; None where they cannot be known.

    Where -s and -t were left out, fairseq infers them from the data's file names and a checkpoint records none.

    Raises:
        UserError: for one that is no plain name: files are looked for by it.
    """
    source, target = getattr(options, "source_lang", None), getattr(options, "target_lang", None)
    data = utils.split_paths(getattr(options, "data", None) or "")[0]
    if (source is None or target is None) and data and Path(data).is_dir():
        source, target = data_utils.infer_language_pair(data)
    return None if source is None or target is None else (plain(source, "the language"), plain(target, "the language"))


def first_difference(teacher: Dictionary, student: Dictionary, beside: str = "student") -> str | None:
    """Where two dictionaries first differ, in words; None if they are the same."""
    for index, (theirs, ours) in enumerate(zip_longest(teacher.symbols, student.symbols)):
        if theirs != ours:
            return (
                f"at index {index} the teacher has {_word(theirs)} and the {beside} {_word(ours)} "
                f"({len(teacher)} and {len(student)} types)"
            )
    return None


def _word(symbol: str | None) -> str:
    return "no more" if symbol is None else repr(symbol)


def find_dictionary(language: str, checkpoint: Path, recorded: str, given: str | None) -> Path | None:
    """A teacher's dictionary in the folder `given`, else beside the checkpoint, else in the data folders it records.

    Raises:
        UserError: if the folder given has none.
    """
    if given:
        path = Path(given, f"dict.{language}.txt")
        if not path.is_file():
            raise UserError(f"--teacher-data {given}: expected the teacher's dictionary at {path}, found nothing.")
        return path
    # Beside the checkpoint first: the recorded folder may have been binarised anew since.
    folders = [checkpoint.parent, *filter(None, utils.split_paths(recorded)[:1])]
    return next((p for f in folders if (p := Path(f, f"dict.{language}.txt")).is_file()), None)


def check_teacher(
    path: str | os.PathLike[str],
    state: dict[str, Any],
    task: Any,
    teacher_data: str | None = None,
    beside: str = "student",
) -> None:
    """Check a teacher's task, languages, dictionaries and lengths against the student's task.

    `beside` is what messages call that which the task belongs to.

    A checkpoint does not hold its dictionaries, so they are looked for in `teacher_data`, else beside
    the checkpoint, else in the data folder that the checkpoint records; where there are none, only
    their sizes can be compared, and a warning says so.

    Raises:
        UserError: naming everything that does not fit.
    """
    path = Path(path)
    theirs, ours = state["cfg"]["task"], _options(task)
    problems = []

    tasks = task_name(theirs), task_name(ours)
    # A user's own task made of `translation` has its batches; whether it has its dictionaries too is looked at below.
    if tasks[0] != tasks[1] and not all(map(is_bilingual, tasks)):
        problems.append(f"it was trained on the task {tasks[0]!r}, the {beside}'s is {tasks[1]!r}")

    languages = languages_of(ours)
    if (trained_on := languages_of(theirs) or languages) != languages:
        arrows = [" -> ".join(pair) if pair else "nothing known" for pair in (trained_on, languages)]
        problems.append(f"it translates {arrows[0]}, the {beside} {arrows[1]} (--source-lang, --target-lang)")
    elif languages and not problems:
        problems += _dictionary_problems(path, state, task, teacher_data, languages, beside)

    for name in ("max_source_positions", "max_target_positions"):
        limit, wanted = getattr(state["cfg"]["model"], name, None), getattr(ours, name, None)
        if limit is not None and wanted is not None and limit < wanted:
            problems.append(f"it reads at most {limit} tokens: pass --{name.replace('_', '-')} {limit}")

    if problems:
        raise UserError(f"the teacher {path} does not fit:\n" + "\n".join(f"  - {p}" for p in problems))


def _dictionary_problems(
    path: Path, state: dict[str, Any], task: Any, teacher_data: str | None, languages: tuple[str, str], beside: str
) -> list[str]:
    options = state["cfg"]["task"]
    problems = []
    for side, language, ours, embedding in (
        ("source", languages[0], task.source_dictionary, "encoder.embed_tokens.weight"),
        ("target", languages[1], task.target_dictionary, "decoder.embed_tokens.weight"),
    ):
        weight = state["model"].get(embedding)
        if weight is not None and weight.shape[0] != len(ours):
            problems.append(f"its {side} dictionary has {weight.shape[0]} types, the {beside}'s {len(ours)}")
        file = find_dictionary(language, path, getattr(options, "data", "") or "", teacher_data)
        if file is None:
            logger.warning(
                f"the {side} dictionary of the teacher {path} was not found (not in {options.data}, not beside the "
                f"checkpoint), so only its size was compared; name its folder with --teacher-data to compare it whole"
            )
        elif difference := first_difference(load_dictionary(file, type(ours)), ours, beside):
            problems.append(f"its {side} dictionary {file} is another than the {beside}'s: {difference}")
    if problems:
        problems.append(
            f"teacher and {beside} need identical dictionaries: encode the text with the teacher's SentencePiece model "
            "and vocabulary (lskd encode --spm-model; fairseq-preprocess --srcdict, --tgtdict), or distil at sequence "
            "level, which may cross vocabularies"
        )
    return problems
