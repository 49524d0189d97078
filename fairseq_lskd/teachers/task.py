"""fairseq's translation task for a folder of binarised data, as fairseq-train would make it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from fairseq import tasks, utils
from fairseq.data import Dictionary, data_utils
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from omegaconf import open_dict

from ..data.binarised import check_binarised
from ..data.dictionary import read_dictionary
from ..errors import UserError
from .checkpoint import read_archive, read_checkpoint
from .known import is_bilingual, names_of


def translation_task(
    data: str, source_lang: str | None, target_lang: str | None, like: str | None = None, **options: Any
) -> TranslationTask:
    """The task with its dictionaries; languages that are not given are inferred from the folder's files.

    Args:
        like: checkpoints, joined by ":"; of the first the task is taken where it is a user's own.
        options: further ones of fairseq's `TranslationConfig`.

    Raises:
        UserError: if there is no such folder, or it lacks a dictionary or says nothing of its languages.
    """
    if not Path(data).is_dir():
        raise UserError(f"{data}: no such folder of binarised data")
    source, target = source_lang, target_lang
    if not (source and target):
        source, target = data_utils.infer_language_pair(data)
    if not (source and target):
        below = Path(data, "bin")
        if below.is_dir() and all(data_utils.infer_language_pair(str(below))):
            raise UserError(f"{data} has no binarised bitext, but {below} has: name that.")
        raise UserError(f"{data} has no binarised bitext: its languages are unknown. Give -s and -t.")
    for language in (source, target):
        path = Path(data, f"dict.{language}.txt")
        if not path.is_file():
            raise UserError(f"{data} has no dict.{language}.txt, which fairseq-preprocess writes")
        load_dictionary(path)
    options |= {"data": data, "source_lang": source, "target_lang": target}
    first = (like or "").split(":")[0]
    # One that is missing is told of, among others, where teachers are loaded.
    name = names_of(read_archive(first)).task if Path(first).is_file() else None
    if name != "translation" and is_bilingual(name):
        own = read_checkpoint(first)["cfg"]["task"]
        with open_dict(own):
            for option, value in options.items():
                own[option] = value
        return tasks.setup_task(own)
    return TranslationTask.setup_task(
        TranslationConfig(
            _name="translation", train_subset="train", dataset_impl=None, required_seq_len_multiple=1, **options
        )
    )


def load_dictionary(path: Path, kind: type[Dictionary] = Dictionary) -> Dictionary:
    """fairseq's dictionary of a file.

    Raises:
        UserError: if it cannot be read, or is none: with the line.
    """
    try:
        return kind.load(str(path))
    except Exception as error:  # fairseq raises what it likes, a bare Exception among it
        read_dictionary(path)  # which says more
        raise UserError(f"{path} is not a dictionary that fairseq can read: {error}") from None


def load_split(task: Any, split: str, combine: bool = False) -> Any:
    """The dataset of a split, of which every number has been checked.

    Args:
        task: fairseq's translation task, with its data in one folder; combine: with train1, train2, ..., as training.

    Raises:
        FileNotFoundError: if there is no such split.
        UserError: if a file of it is broken, or its sides have different numbers of sentences.
    """
    folder = Path(utils.split_paths(task.cfg.data)[0])
    source, target = task.cfg.source_lang, task.cfg.target_lang
    for part in itertools.count():
        pairs = (f"{split}{part or ''}.{pair}" for pair in (f"{source}-{target}", f"{target}-{source}"))
        prefix = next((folder / pair for pair in pairs if (folder / f"{pair}.{source}.idx").is_file()), None)
        if prefix is None:
            break
        sentences = [
            check_binarised(prefix.with_name(f"{prefix.name}.{language}"), len(dictionary))
            for language, dictionary in ((source, task.source_dictionary), (target, task.target_dictionary))
        ]
        if sentences[0] != sentences[1]:
            raise UserError(
                f"{prefix}: {sentences[0]:,} sentences of {source} and {sentences[1]:,} of {target}: the files are of "
                "two texts; binarise both sides again"
            )
        if not combine:
            break
    task.load_dataset(split, combine=combine)
    return task.dataset(split)
