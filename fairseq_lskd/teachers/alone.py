"""A teacher on its own, with no student's task beside it: to translate with."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairseq import tasks, utils
from omegaconf import open_dict

from ..errors import UserError
from ..names import plain
from ..reading import shown
from .checkpoint import read_checkpoint, said
from .compatibility import dictionary_file, languages_of, task_name
from .known import is_bilingual
from .languages import MIXED, Marks, check_languages, find_file, languages_in_order, marks_of, pairs_of
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
    marks: Marks | None = None  #: of one of several languages: what it reads around the sentences of its pair
    more_files: tuple[Path, ...] = ()  #: that its vocabulary is also made of


def load_teacher(
    paths: str, teacher_data: str | None = None, source_lang: str | None = None, target_lang: str | None = None
) -> Teacher:
    """Load fairseq checkpoints, joined by `:`, with the dictionaries of the first.

    Dictionaries are looked for in `teacher_data`, else beside the checkpoint, else in the folder that it records.
    One of several languages is loaded for the pair of `source_lang` and `target_lang`, which it has to have seen.

    Raises:
        UserError: if a checkpoint cannot be read, its task, languages or dictionaries are not known, or they differ.
    """
    first = Path(paths.split(":")[0])
    options = read_checkpoint(first)["cfg"]["task"]
    name = task_name(options)
    if name != MIXED and not is_bilingual(name):
        raise UserError(
            f"the teacher {first} was trained on the task {name!r}, expected 'translation', one of your own made of "
            f"it, or {MIXED!r}. Convert it with one of CTranslate2's converters, and name the folder with --model."
        )
    check_languages(first, options)
    if name == MIXED:
        languages = _pair(first, options, source_lang, target_lang, teacher_data)
    else:
        recorded = languages_of(options) or (None, None)
        source_lang, target_lang = source_lang or recorded[0], target_lang or recorded[1]
        if source_lang is None or target_lang is None:
            raise UserError(
                f"the teacher {first} does not say what it translates: name --source-lang and --target-lang"
            )
        languages = (source_lang, target_lang)
    recorded_data = getattr(options, "data", None) or ""
    dictionaries = [
        dictionary_file(first, options, side, language, teacher_data)
        for side, language in zip(("source", "target"), languages, strict=True)
    ]
    source, target = dictionaries
    if source is None or target is None or (source.parent != target.parent and name != MIXED):
        raise UserError(
            f"the teacher {first} needs dict.{languages[0]}.txt and dict.{languages[1]}.txt in one folder, found "
            f"{' and '.join(str(path) for path in dictionaries if path) or 'neither'} (looked beside it, and in "
            f"{recorded_data or 'no data folder, as it records none'}): name their folder with --teacher-data"
        )
    with open_dict(options) if not isinstance(options, Namespace) else contextlib.nullcontext():
        options.data, (options.source_lang, options.target_lang) = str(source.parent), languages
    more = _own_files(first, options, teacher_data, source, target) if name == MIXED else ()
    for dictionary in (source, target):
        load_dictionary(dictionary)
    try:
        task = tasks.setup_task(options)
    except Exception as error:  # of options of any kind
        raise UserError(f"the teacher {first} has options that its task cannot take: {said(error)}") from None
    marks = None
    if name == MIXED:
        both = task.source_dictionary, task.target_dictionary
        marks = marks_of(first, options, languages, both, len(task.target_dictionary))
    models = OnlineTeacher.from_checkpoints(paths, task, teacher_data).models
    positions = utils.resolve_max_positions(task.max_positions(), *(model.max_positions() for model in models))
    if marks is not None:
        positions = (positions[0] - marks.before_source, positions[1] - marks.shift)
    return Teacher([Path(path) for path in paths.split(":")], task, models, (source, target), positions, marks, more)


def _pair(
    path: Path, options: Any, source: str | None, target: str | None, teacher_data: str | None
) -> tuple[str, str]:
    """The pair that a teacher of several is asked for."""
    pairs = pairs_of(options)
    if not (source and target):
        raise UserError(
            f"the teacher {path} translates several languages: choose with --source-lang and --target-lang one of "
            f"{shown(', '.join(pairs)) if pairs else 'its pairs'}"
        )
    known = languages_in_order(options, path, teacher_data)
    if lacking := [language for language in (source, target) if language not in known]:
        raise UserError(
            f"the teacher {path} has no language token for {' and '.join(lacking)} (--source-lang, --target-lang): it "
            f"has {shown(', '.join(known))}"
        )
    if pairs and f"{source}-{target}" not in pairs:
        raise UserError(
            f"the teacher {path} was never trained on {source}-{target} (--source-lang, --target-lang), only on "
            f"{shown(', '.join(pairs))}"
        )
    return plain(source, "--source-lang"), plain(target, "--target-lang")


def _own_files(path: Path, options: Any, teacher_data: str | None, source: Path, target: Path) -> tuple[Path, ...]:
    """Have the options name files where they are now; those beside the dictionaries."""
    for option, place in (("fixed_dictionary", source), ("source_dict", source), ("target_dict", target)):
        if getattr(options, option, None):
            setattr(options, option, str(place))
    options.lang_pairs = pairs_of(options) or [f"{options.source_lang}-{options.target_lang}"]
    if not getattr(options, "lang_dict", None):
        return ()
    place = find_file("--lang-dict", options.lang_dict, path, teacher_data)
    options.lang_dict = str(place)
    return (place,)
