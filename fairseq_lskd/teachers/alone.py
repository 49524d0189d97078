"""A teacher on its own, with no student's task beside it: to translate with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairseq import tasks, utils
from omegaconf import open_dict

from ..errors import UserError
from .checkpoint import read_checkpoint, said
from .compatibility import find_dictionary, languages_of, task_name
from .known import is_bilingual
from .online import OnlineTeacher
from .task import load_dictionary


@dataclass
class Teacher:
    """Checkpoints of one task, loaded."""

    paths: list[Path]
    task: Any  #: fairseq's, with both dictionaries
    models: list[Any]  #: in eval mode, on the CPU; several are an ensemble
    dictionaries: tuple[Path, Path]  #: of the source and the target
    max_positions: tuple[int, int]  #: tokens that all of them read and write at most, end marks counted


def load_teacher(
    paths: str, teacher_data: str | None = None, source_lang: str | None = None, target_lang: str | None = None
) -> Teacher:
    """Load fairseq checkpoints, joined by `:`, with the dictionaries of the first.

    Dictionaries are looked for in `teacher_data`, else beside the checkpoint, else in the folder that it records.

    Raises:
        UserError: if a checkpoint cannot be read, its task, languages or dictionaries are not known, or they differ.
    """
    first = Path(paths.split(":")[0])
    options = read_checkpoint(first)["cfg"]["task"]
    if not is_bilingual(name := task_name(options)):
        raise UserError(
            f"the teacher {first} was trained on the task {name!r}, expected 'translation', or one of your own made of "
            "it. Convert it with one of CTranslate2's converters, and name the folder with --model."
        )
    recorded = languages_of(options) or (None, None)
    source_lang, target_lang = source_lang or recorded[0], target_lang or recorded[1]
    if source_lang is None or target_lang is None:
        raise UserError(f"the teacher {first} does not say what it translates: name --source-lang and --target-lang")
    languages = (source_lang, target_lang)
    recorded_data = getattr(options, "data", None) or ""
    dictionaries = [find_dictionary(language, first, recorded_data, teacher_data) for language in languages]
    source, target = dictionaries
    if source is None or target is None or source.parent != target.parent:
        raise UserError(
            f"the teacher {first} needs dict.{languages[0]}.txt and dict.{languages[1]}.txt in one folder, found "
            f"{' and '.join(str(path) for path in dictionaries if path) or 'neither'} (looked beside it, and in "
            f"{recorded_data or 'no data folder, as it records none'}): name their folder with --teacher-data"
        )
    with open_dict(options):
        options.data, (options.source_lang, options.target_lang) = str(source.parent), languages
    for dictionary in (source, target):
        load_dictionary(dictionary)
    try:
        task = tasks.setup_task(options)
    except Exception as error:  # of options of any kind
        raise UserError(f"the teacher {first} has options that its task cannot take: {said(error)}") from None
    models = OnlineTeacher.from_checkpoints(paths, task, teacher_data).models
    positions = utils.resolve_max_positions(task.max_positions(), *(model.max_positions() for model in models))
    return Teacher([Path(path) for path in paths.split(":")], task, models, (source, target), positions)
