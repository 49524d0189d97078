"""Check that a teacher fits the student's task. One message names everything that does not fit."""

from __future__ import annotations

import logging
import os
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from fairseq import utils
from fairseq.data import Dictionary, data_utils

from ..errors import UserError
from ..names import plain
from ..reading import shown
from .known import base_task, is_bilingual
from .languages import (
    BART,
    LEVENSHTEIN,
    MIXED,
    OF_PAIRS,
    PARTED,
    Marks,
    Side,
    check_languages,
    complete,
    find_file,
    languages_in_order,
    mark_options,
    marks_of,
    options_of,
    pairs_of,
    sides_of,
)
from .task import load_dictionary

logger = logging.getLogger(__name__)


def task_name(options: Any) -> str | None:
    """Return fairseq's name of the task with these options. A user's subclass of one of `OF_PAIRS` has that's."""
    return base_task(getattr(options, "_name", None) or getattr(options, "task", None))


def languages_of(options: Any) -> tuple[str, str] | None:
    """Return source and target language, or None if unknown.

    Without -s and -t, fairseq infers the languages from the names of the data files, and the checkpoint does not record
    them.

    Raises:
        UserError: if a language is not a plain name, because file names are made from it.
    """
    source, target = getattr(options, "source_lang", None), getattr(options, "target_lang", None)
    data = utils.split_paths(getattr(options, "data", None) or "")[0]
    if (source is None or target is None) and data and Path(data).is_dir():
        source, target = data_utils.infer_language_pair(data)
    return None if source is None or target is None else (plain(source, "the language"), plain(target, "the language"))


def first_difference(
    teacher: Dictionary, student: Dictionary, beside: str = "student", longer: bool = False
) -> str | None:
    """Describe the first difference between two dictionaries; None if there is none.

    Args:
        beside: the owner of the second dictionary.
        longer: whether the teacher's may have more types at the end.
    """
    for index, (theirs, ours) in enumerate(zip_longest(teacher.symbols, student.symbols)):
        if theirs != ours and not (longer and ours is None):
            return (
                f"at index {index} the teacher has {_word(theirs)} and the {beside} {_word(ours)} "
                f"({len(teacher)} and {len(student)} types)"
            )
    return None


def _word(symbol: str | None) -> str:
    return "no more types" if symbol is None else repr(symbol)


class Dictionaries(NamedTuple):
    """A teacher's dictionaries with the types that its task adds; enough of a task to build the model."""

    source_dictionary: Dictionary
    target_dictionary: Dictionary


class Reading(NamedTuple):
    """How a multilingual teacher reads the batches of a bilingual student."""

    marks: Marks
    task: Dictionaries


def check_teacher(
    path: str | os.PathLike[str],
    state: dict[str, Any],
    task: Any,
    teacher_data: str | None = None,
    beside: str = "student",
) -> Reading | None:
    """Check a teacher's task, languages, dictionaries and maximum lengths against the student's task.

    A checkpoint does not contain its dictionaries. They are looked for in `teacher_data`, else beside the checkpoint,
    else in the data folder that it records. If they are not found, only their sizes are compared, with a warning.

    Args:
        beside: the word in messages for the owner of the task.

    Returns:
        How a multilingual teacher reads a bilingual student's batches; None if it reads them unchanged.

    Raises:
        UserError: if something does not fit. The message names everything.
    """
    path = Path(path)
    theirs, ours = state["cfg"]["task"], options_of(task)
    check_languages(path, theirs)
    problems = []

    kinds = task_name(theirs), task_name(ours)
    marked = kinds[0] == MIXED and is_bilingual(kinds[1])
    # A user's subclass of `translation` has the same batches. Its dictionaries are checked below.
    if kinds[0] != kinds[1] and not marked and not all(map(is_bilingual, kinds)):
        problem = f"it was trained on the task {kinds[0]!r}, the {beside}'s is {kinds[1]!r}"
        problems.append(problem + _way_out(path, (kinds[0], kinds[1]), task))
    elif kinds[0] == kinds[1]:
        marks = (mark_options(theirs, kinds[0]), mark_options(ours, kinds[1]))
        problems += [
            f"it was trained with {flag} {marks[0][flag]}, the {beside} has {value}"
            for flag, value in marks[1].items()
            if marks[0][flag] != value
        ]

    languages = None if kinds[1] in OF_PAIRS else languages_of(ours)
    if marked or kinds[1] in OF_PAIRS:
        wanted = pairs_of(task) if languages is None else ["-".join(languages)]
        seen = pairs_of(theirs)
        if kinds[0] in OF_PAIRS and seen and (unseen := [pair for pair in wanted if pair not in seen]):
            problems.append(
                f"it was not trained on {', '.join(unseen)} (--lang-pairs), only on {shown(', '.join(seen))}"
            )
    elif kinds[0] not in OF_PAIRS and (trained_on := languages_of(theirs) or languages) != languages:
        arrows = [" -> ".join(pair) if pair else "unknown languages" for pair in (trained_on, languages)]
        problems.append(f"it translates {arrows[0]}, the {beside} {arrows[1]} (--source-lang, --target-lang)")

    own: dict[str, Dictionary] = {}
    if not problems:
        for side in sides_of(task, languages, kinds[1]):
            found, its = _dictionary_problems(path, state, side, teacher_data, beside, marked)
            problems += found
            own[side.name] = its
        if problems:
            problems.append(_identical(beside))

    for end, part in (("source", "encoder"), ("target", "decoder")):
        name = f"max_{end}_positions"
        limit, needed = getattr(state["cfg"]["model"], name, None), getattr(ours, name, None)
        if marked and limit is not None and f"{part}.embed_positions.weight" in state["model"]:
            limit -= 1  # a language token takes one position; without learned positions there is no limit
        if limit is not None and needed is not None and limit < needed:
            problems.append(f"its limit is {limit} {end} tokens: pass --{name.replace('_', '-')} {limit}")

    if not problems and marked and languages:
        dictionaries = Dictionaries(own["source"], own["target"])
        return Reading(marks_of(path, theirs, languages, dictionaries, len(task.target_dictionary)), dictionaries)
    if problems:
        raise UserError(f"the teacher {path} does not fit:\n" + "\n".join(f"  - {p}" for p in problems))
    return None


def _way_out(path: Path, kinds: tuple[str | None, str | None], task: Any) -> str:
    """Return what to do about a teacher and a student of different tasks, as the end of a message."""
    teacher, student = kinds
    if is_bilingual(teacher) and student in OF_PAIRS and (pairs := pairs_of(task)):
        return f". Give a teacher for each pair: --teacher-path {','.join(f'{pair}=PATH' for pair in pairs)}"
    if student == LEVENSHTEIN:
        return (
            f". A left-to-right student needs a teacher of {LEVENSHTEIN!r}, or --task translation for itself, under "
            "which fairseq can decode it. A student that is not left-to-right learns at sequence level only, with "
            "--criterion nat_loss (lskd translate, lskd select)"
        )
    if is_bilingual(student) and (pair := languages_of(options_of(task))):
        command = f"lskd translate -s {pair[0]} -t {pair[1]}"
        if teacher == PARTED:
            return f". Distil at sequence level: {command} --teacher-path {path}"
        if teacher == BART:
            return (
                f". Convert it (ct2-fairseq-converter --no_default_special_tokens --source_lang {pair[0]} "
                f"--target_lang {pair[1]} --model_path {path} --output_dir DIR), then use lskd cache --model DIR, or "
                f"{command} --model DIR for sequence level"
            )
    return ""


def _identical(beside: str) -> str:
    cache = " write a cache from the same text in the teacher's pieces (lskd cache DATA --teacher-text TEACHER_DATA),"
    return (
        f"teacher and {beside} need identical dictionaries: encode the text with the teacher's SentencePiece model "
        "and vocabulary (lskd encode --spm-model; fairseq-preprocess --srcdict, --tgtdict), give the languages of a "
        f"multilingual task in the teacher's order (--langs),{cache if beside == 'student' else ''} or distil at "
        "sequence level, which needs no common vocabulary"
    )


def dictionary_file(path: Path, options: Any, side: str, language: str, teacher_data: str | None) -> Path | None:
    """Find a teacher's dictionary of one side: the file that it records by name, or else dict.LANG.txt in a folder.

    The folder is `teacher_data`, else that of the checkpoint, else the recorded data folder.

    Raises:
        UserError: if the recorded file is not found, or the folder `teacher_data` has no dictionary.
    """
    if task_name(options) == MIXED:
        for option in ("fixed_dictionary", f"{side}_dict"):
            if recorded := getattr(options, option, None):
                return find_file(f"--{option.replace('_', '-')}", recorded, path, teacher_data)
    name = f"dict.{language}.txt"
    if teacher_data:
        if not (file := Path(teacher_data, name)).is_file():
            raise UserError(
                f"--teacher-data {teacher_data}: expected the teacher's dictionary at {file}, found nothing."
            )
        return file
    # Beside the checkpoint first, because the recorded folder may have been binarised again since.
    folders = [path.parent, *filter(None, utils.split_paths(getattr(options, "data", "") or "")[:1])]
    return next((file for folder in folders if (file := Path(folder, name)).is_file()), None)


def _dictionary_problems(
    path: Path, state: dict[str, Any], side: Side, teacher_data: str | None, beside: str, marked: bool
) -> tuple[list[str], Dictionary]:
    """Return the problems with a teacher's dictionary, and the dictionary.

    Args:
        marked: whether the teacher may have more types at the end, its language tokens.
    """
    options, ours, problems = state["cfg"]["task"], side.dictionary, []
    name, kind = side.name, task_name(options)
    languages = languages_in_order(options, path, teacher_data) if kind == MIXED else []
    file = dictionary_file(path, options, name, side.language, teacher_data)
    own = ours if file is None else load_dictionary(file, type(ours))
    if file is not None or marked:
        own = complete(own, options, kind, languages)
    weight = state["model"].get(side.embedding)
    if weight is not None and weight.shape[0] != (wanted := len(own) if marked else len(ours)):
        problems.append(f"its {name} dictionary has {weight.shape[0]} types, the {beside}'s {wanted}")
    if file is None:
        logger.warning(
            f"the {name} dictionary of the teacher {path} was not found in {options.data} or beside the checkpoint, so "
            "only its size was compared. To compare all types, name its folder with --teacher-data"
        )
    elif difference := first_difference(own, ours, beside, longer=marked):
        problems.append(f"its {name} dictionary {file} differs from the {beside}'s: {difference}")
    return problems, own
