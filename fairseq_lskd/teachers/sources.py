"""The teachers of a cache, as the source of what it stores."""

from __future__ import annotations

import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import UserError
from ..extras import require
from ..losses import MEAN
from .cache_request import Request
from .forced import ForcedTeacher
from .online import OnlineTeacher
from .respelled import Reader, RespelledTopK, Text
from .sampled import Plan, TeacherSampled
from .task import load_split, translation_task
from .top_k import TeacherTopK
from .weights import read_mixture

if TYPE_CHECKING:
    from .converted import ConvertedTeacher


class Teachers:
    """The teachers that a request names. They are loaded when they are first needed."""

    def __init__(self, request: Request):
        """Read the dictionaries of the data and of the teachers' texts.

        Raises:
            UserError: if a folder or a weight is invalid, there is no GPU for --fp16, or the model of --model does not
                fit (`ConvertedTeacher`).
        """
        self.request = request
        if request.model is not None:
            require("--model", "ctranslate2")
        self.mixture = read_mixture(request.teacher_weights, request.teacher_path or "")
        cuda = torch.cuda.is_available() and not request.cpu
        if request.fp16 and not cuda:
            there = "leave out --cpu" if request.cpu else "torch finds none: leave it out"
            raise UserError(f"--fp16 needs a GPU; {there}")
        dtype = torch.float16 if request.fp16 else torch.float32
        #: A tensor with the device and dtype for the computation.
        self.like = torch.empty(0, dtype=dtype, device="cuda" if cuda else "cpu")
        self.task = self._task(request.data)
        #: The tasks of --teacher-text; `task` itself for teachers that read the student's data.
        self.texts = [self.task if _same(each, request.data) else self._task(each) for each in request.texts]
        self.converted = None if request.model is None else self._convert(request.model)

    def _convert(self, folder: Path) -> ConvertedTeacher:
        from .converted import ConvertedTeacher  # CTranslate2 is optional

        task = self.texts[0] if self.texts else self.task
        kind, device = self.request.compute_type or "float32", self.like.device.type
        found = ConvertedTeacher(folder, task, kind, device, self.request.affixes)
        if found.pair is not None:
            print(f"--model {folder}, {found.pair}: {found.affixes}", file=sys.stderr)
        return found

    @cached_property
    def ensemble(self) -> ForcedTeacher:
        """All teachers, which have the student's vocabulary."""
        if self.converted is not None:
            return self.converted
        found = OnlineTeacher.from_checkpoints(":".join(self.request.teachers), self.task, self.request.teacher_data)
        found.mixture = self.mixture
        return found

    def source(self, dataset: Any, kept: Plan) -> TeacherTopK | RespelledTopK:
        """Return the source of a cache of a dataset of the task: the top k, draws, or the top k of other vocabularies.

        Raises:
            UserError: if a teacher does not fit its text, or the texts are not the same sentences.
        """
        if self.texts:
            return self._respelled(dataset, kept.k)
        settings = (self.request.kd_temperature, self.like, self.request.max_tokens)
        if kept.sampled:
            return TeacherSampled(self.ensemble, self.task, dataset, kept, *settings)
        return TeacherTopK(self.ensemble, self.task, dataset, kept.k, *settings)

    def _respelled(self, dataset: Any, k: int) -> RespelledTopK:
        asked = self.request
        student = Text(asked.data, self.task, dataset)
        alone = len(self.texts) == 1
        paths = [":".join(asked.teachers)] if alone else asked.teachers
        dictionaries = (asked.teacher_data or "").split(":")
        if len(dictionaries) < len(paths):
            dictionaries *= len(paths)
        readers = []
        for path, name, task, folder in zip(paths, asked.texts, self.texts, dictionaries, strict=True):
            teacher: ForcedTeacher = self.converted or OnlineTeacher.from_checkpoints(
                path, task, folder or None, beside="text"
            )
            if alone:
                teacher.mixture = self.mixture
            text = student if task is self.task else Text(name, task, self.load(task))
            readers.append(Reader(teacher, text, student, self.like, asked.max_tokens))
        return RespelledTopK(readers, k, MEAN if alone else self.mixture)

    def load(self, task: Any) -> Any:
        """Load the split of a task that the request names, train1, train2, ... included."""
        return load_split(task, self.request.subset, combine=self.request.subset == task.cfg.train_subset)

    def _task(self, data: str) -> Any:
        """Return fairseq's translation task for a folder, as fairseq-train creates it."""
        if ":" in data:
            raise UserError(f"{data}: expected one folder of binarised data; a cache cannot join several")
        return translation_task(
            data,
            self.request.source_lang,
            self.request.target_lang,
            max_source_positions=self.request.max_source_positions,
            max_target_positions=self.request.max_target_positions,
            truncate_source=self.request.truncate_source,
            upsample_primary=self.request.upsample_primary,
            like=self.request.teacher_path,
        )


def _same(one: str, other: str) -> bool:
    return Path(one).resolve() == Path(other).resolve()
