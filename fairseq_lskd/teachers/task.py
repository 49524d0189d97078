"""fairseq's translation task for a folder of binarised data, as fairseq-train would make it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fairseq.data import data_utils
from fairseq.tasks.translation import TranslationConfig, TranslationTask

from ..errors import UserError


def translation_task(data: str, source_lang: str | None, target_lang: str | None, **options: Any) -> TranslationTask:
    """The task with its dictionaries; languages that are not given are inferred from the folder's files.

    Args:
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
        if not Path(data, f"dict.{language}.txt").is_file():
            raise UserError(f"{data} has no dict.{language}.txt, which fairseq-preprocess writes")
    return TranslationTask.setup_task(
        TranslationConfig(
            _name="translation",
            data=data,
            source_lang=source,
            target_lang=target,
            train_subset="train",
            dataset_impl=None,
            required_seq_len_multiple=1,
            **options,
        )
    )
