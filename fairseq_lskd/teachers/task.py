"""Make fairseq's translation task for a folder of binarised data, as fairseq-train does."""

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
    """Return the task with its dictionaries. Languages that are not given are inferred from the folder's files.

    Args:
        like: checkpoints, joined by ":". If the task of the first is a user's own, it is used.
        options: further options of fairseq's `TranslationConfig`.

    Raises:
        UserError: if the folder does not exist, lacks a dictionary, or its languages cannot be inferred.
    """
    if not Path(data).is_dir():
        raise UserError(f"{data}: no such folder. Name a folder with binarised data")
    source, target = source_lang, target_lang
    if not (source and target):
        source, target = data_utils.infer_language_pair(data)
    if not (source and target):
        below = Path(data, "bin")
        if below.is_dir() and all(data_utils.infer_language_pair(str(below))):
            raise UserError(f"{data} has no binarised bitext, but {below} has. Name {below}.")
        raise UserError(f"{data} has no binarised bitext, so its languages are unknown. Give -s and -t.")
    for language in (source, target):
        path = Path(data, f"dict.{language}.txt")
        if not path.is_file():
            raise UserError(f"{data} has no dict.{language}.txt. fairseq-preprocess writes it with the data")
        load_dictionary(path)
    options |= {"data": data, "source_lang": source, "target_lang": target}
    first = (like or "").split(":")[0]
    # A missing checkpoint is reported when teachers are loaded.
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
    """Load a dictionary with fairseq.

    Raises:
        UserError: if the file cannot be read or is not a dictionary. The message names the line.
    """
    try:
        return kind.load(str(path))
    except Exception as error:  # fairseq raises many exceptions, also a bare Exception
        read_dictionary(path)  # raises a UserError that names the line
        raise UserError(f"{path} is not a dictionary that fairseq can read: {error}. Write it again") from None


def load_split(task: Any, split: str, combine: bool = False) -> Any:
    """Check the files of a split and load its dataset.

    Args:
        task: fairseq's translation task, with its data in one folder.
        combine: include train1, train2, ...

    Raises:
        FileNotFoundError: if the split does not exist.
        UserError: if a file is damaged, or source and target differ in the number of sentences.
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
                f"{prefix} has {sentences[0]:,} sentences of {source}, but {sentences[1]:,} of {target}, so the files "
                "are not of the same text. Binarise both sides again"
            )
        if not combine:
            break
    task.load_dataset(split, combine=combine)
    return task.dataset(split)
