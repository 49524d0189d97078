"""Load a teacher with its own task, without a student, for translation."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairseq import tasks, utils
from fairseq.data import data_utils
from omegaconf import open_dict

from ..errors import UserError
from ..names import plain
from ..reading import shown
from .checkpoint import read_checkpoint, said
from .compatibility import dictionary_file, languages_of, task_name
from .known import is_bilingual
from .languages import (
    BART,
    MIXED,
    OF_PAIRS,
    PARTED,
    Marks,
    add_data_tags,
    added_types,
    check_languages,
    find_file,
    languages_in_order,
    marks_of,
    options_of,
    pairs_of,
)
from .model_tokens import Affixes
from .online import OnlineTeacher
from .task import load_dictionary


@dataclass
class Teacher:
    """Loaded checkpoints of one task."""

    paths: list[Path]
    task: Any  #: fairseq's task, with both dictionaries
    models: list[Any]  #: in eval mode, on the CPU; several are an ensemble; parts for the pair if they have such
    dictionaries: tuple[Path, Path]  #: files of the source and the target dictionary
    max_positions: tuple[int, int]  #: maximum tokens of a source and a target for all models, end symbols included
    marks: Marks | None = None  #: the language tokens of a multilingual teacher
    more_files: tuple[Path, ...] = ()  #: further files that define the vocabulary

    @property
    def affixes(self) -> Affixes:
        """The tokens that its conversion to CTranslate2 needs around sentences."""
        return Affixes() if self.marks is None else Affixes(*self.marks.symbols(self.task))

    @property
    def language_tokens(self) -> frozenset[str]:
        """The types that its task adds to the dictionary; empty for a bilingual teacher."""
        if self.marks is None:
            return frozenset()
        options = options_of(self.task)
        return frozenset(added_types(options, task_name(options), self.task.langs))

    @property
    def pair(self) -> str | None:
        """The language pair of a multilingual teacher, such as `de-en`."""
        task = options_of(self.task)
        return None if self.marks is None else f"{task.source_lang}-{task.target_lang}"


def _inferred(data: str) -> tuple[str | None, str | None]:
    """The languages of a data folder's files: fairseq-train without -s and -t infers them, and records none."""
    folder = data.split(":")[0]
    source, target = data_utils.infer_language_pair(folder) if folder and Path(folder).is_dir() else (None, None)
    return source, target


def load_teacher(
    paths: str, teacher_data: str | None = None, source_lang: str | None = None, target_lang: str | None = None
) -> Teacher:
    """Load fairseq checkpoints, joined by `:`, with the dictionaries of the first.

    Dictionaries are looked for in `teacher_data`, else beside the checkpoint, else in the data folder recorded in it.
    A multilingual teacher is loaded for one pair, `source_lang` to `target_lang`, which it must be trained on.

    Raises:
        UserError: if a checkpoint cannot be read, its task, languages or dictionaries are unknown, or the checkpoints
            do not fit together.
    """
    first = Path(paths.split(":")[0])
    options = read_checkpoint(first)["cfg"]["task"]
    name = task_name(options)
    if name not in OF_PAIRS and not is_bilingual(name):
        converter = "one of CTranslate2's converters"
        if name == BART:
            converter = "ct2-fairseq-converter --no_default_special_tokens --source_lang SRC --target_lang TGT"
        way_out = f"Convert it with {converter}, and name the folder with --model (lskd translate, lskd cache)"
        raise UserError(
            f"the teacher {first} was trained on the task {name!r}, expected 'translation', a subclass of it, "
            f"{MIXED!r} or {PARTED!r}. {way_out}"
        )
    check_languages(first, options)
    recorded_data = getattr(options, "data", None) or ""
    if name in OF_PAIRS:
        languages = _pair(first, options, source_lang, target_lang, teacher_data)
    else:
        recorded = languages_of(options) or (None, None)
        source_lang, target_lang = source_lang or recorded[0], target_lang or recorded[1]
        if source_lang is None and target_lang is None:
            source_lang, target_lang = _inferred(teacher_data or recorded_data)
        if source_lang is None or target_lang is None:
            raise UserError(
                f"the teacher {first} does not record its languages, and no data folder shows them: found "
                f"{shown(teacher_data or recorded_data or 'none')}. Give its data folder (--teacher-data), or "
                "--source-lang and --target-lang"
            )
        languages = (source_lang, target_lang)
    dictionaries = [
        dictionary_file(first, options, side, language, teacher_data)
        for side, language in zip(("source", "target"), languages, strict=True)
    ]
    source, target = dictionaries
    if source is None or target is None or (source.parent != target.parent and name != MIXED):
        raise UserError(
            f"the teacher {first} needs dict.{languages[0]}.txt and dict.{languages[1]}.txt in one folder, found "
            f"{' and '.join(str(path) for path in dictionaries if path) or 'neither'} (searched: the checkpoint's "
            f"folder, and {recorded_data or 'no data folder, because it records none'}). Name their folder with "
            "--teacher-data"
        )
    with open_dict(options) if not isinstance(options, Namespace) else contextlib.nullcontext():
        options.data, (options.source_lang, options.target_lang) = str(source.parent), languages
    more: tuple[Path, ...] = ()
    if name == MIXED:
        more = _own_files(first, options, teacher_data, source, target)
    elif name == PARTED:
        more = _other_dictionaries(first, options, source.parent)
    for dictionary in (source, target, *more) if name == PARTED else (source, target):
        load_dictionary(dictionary)
    try:
        task = tasks.setup_task(options)
    except Exception as error:  # the options may be anything, so fairseq may raise anything
        raise UserError(f"the teacher {first} has options that its task does not accept: {said(error)}") from None
    if name == MIXED:
        for language in set(languages):
            add_data_tags(task.data_manager.get_source_dictionary(language), options)
    marks = None
    if name in OF_PAIRS:
        both = task.source_dictionary, task.target_dictionary
        marks = marks_of(first, options, languages, both, len(task.target_dictionary))
    models = OnlineTeacher.from_checkpoints(paths, task, teacher_data, beside="command").models
    limits: Any = task.max_positions()
    if name == PARTED:
        models = [model.models["-".join(languages)] for model in models]
        limits = (options.max_source_positions, options.max_target_positions)
    positions = utils.resolve_max_positions(limits, *(model.max_positions() for model in models))
    if marks is not None:
        positions = (positions[0] - marks.before_source, positions[1] - marks.shift)
    return Teacher([Path(path) for path in paths.split(":")], task, models, (source, target), positions, marks, more)


def _pair(
    path: Path, options: Any, source: str | None, target: str | None, teacher_data: str | None
) -> tuple[str, str]:
    """Check and return the language pair for a multilingual teacher."""
    pairs = pairs_of(options)
    if not (source and target):
        raise UserError(
            f"the teacher {path} translates several language pairs. Choose one with --source-lang and --target-lang: "
            f"{shown(', '.join(pairs)) if pairs else 'the checkpoint does not list them'}"
        )
    known = languages_in_order(options, path, teacher_data)
    # `multilingual_translation` may have no language tokens, but always lists its pairs.
    lacking = [language for language in (source, target) if language not in known]
    if lacking and task_name(options) == MIXED:
        raise UserError(
            f"the teacher {path} has no language token for {' and '.join(map(repr, lacking))} (--source-lang, "
            f"--target-lang). Choose from {shown(', '.join(known))}"
        )
    if pairs and f"{source}-{target}" not in pairs:
        raise UserError(
            f"the teacher {path} was not trained on {source}-{target} (--source-lang, --target-lang). Choose one of "
            f"its pairs: {shown(', '.join(pairs))}"
        )
    return plain(source, "--source-lang"), plain(target, "--target-lang")


def _other_dictionaries(path: Path, options: Any, folder: Path) -> tuple[Path, ...]:
    """Return the dictionaries of all languages of a `multilingual_translation` teacher, which its task loads."""
    languages = languages_in_order(options, path)
    files = [Path(folder, f"dict.{plain(language, 'a language')}.txt") for language in languages]
    if missing := [file.name for file in files if not file.is_file()]:
        raise UserError(
            f"the teacher {path} needs the dictionaries of all of its languages in one folder, but {folder} lacks "
            f"{', '.join(missing)}. Name the folder with --teacher-data"
        )
    return tuple(files)


def _own_files(path: Path, options: Any, teacher_data: str | None, source: Path, target: Path) -> tuple[Path, ...]:
    """Set the options to the present paths of the teacher's files. Return files other than the dictionaries."""
    for option, place in (("fixed_dictionary", source), ("source_dict", source), ("target_dict", target)):
        if getattr(options, option, None):
            setattr(options, option, str(place))
    options.lang_pairs = pairs_of(options) or [f"{options.source_lang}-{options.target_lang}"]
    if not getattr(options, "lang_dict", None):
        return ()
    try:
        place = find_file("--lang-dict", options.lang_dict, path, teacher_data)
    except UserError:  # the dictionary has the tokens, or `languages_in_order` has raised this before
        options.langs, options.lang_dict = languages_in_order(options, path, teacher_data), None
        return ()
    options.lang_dict = str(place)
    return (place,)
