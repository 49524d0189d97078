"""The teachers of a cache, as the source of what it stores."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

from ..errors import UserError
from .cache_request import Request
from .online import OnlineTeacher
from .respelled import RespelledTopK
from .sampled import Plan, TeacherSampled
from .task import load_split, translation_task
from .top_k import TeacherTopK
from .weights import read_mixture


class Teachers:
    """The teachers that a request names. They are loaded when they are first needed."""

    def __init__(self, request: Request):
        """Read the dictionaries of the data and of the teachers' texts.

        Raises:
            UserError: if a folder or a weight is invalid, or there is no GPU for --fp16.
        """
        self.request = request
        self.mixture = read_mixture(request.teacher_weights, request.teacher_path)
        cuda = torch.cuda.is_available() and not request.cpu
        if request.fp16 and not cuda:
            there = "leave out --cpu" if request.cpu else "torch finds none: leave it out"
            raise UserError(f"--fp16 needs a GPU; {there}")
        dtype = torch.float16 if request.fp16 else torch.float32
        #: A tensor with the device and dtype for the computation.
        self.like = torch.empty(0, dtype=dtype, device="cuda" if cuda else "cpu")
        self.task = self._task(request.data)
        #: The task whose dictionaries and data the teacher reads, if its vocabulary is not the student's.
        self.text = self._task(request.teacher_text) if request.teacher_text else None

    @cached_property
    def ensemble(self) -> OnlineTeacher:
        """All teachers, which have one vocabulary."""
        task = self.task if self.text is None else self.text
        found = OnlineTeacher.from_checkpoints(self.request.teacher_path, task, self.request.teacher_data)
        found.mixture = self.mixture
        return found

    def source(self, dataset: Any, kept: Plan) -> TeacherTopK:
        """Return what a cache stores of a dataset of the task: whole distributions of the top k, or with draws."""
        asked = self.request
        if self.text is not None:
            text = load_split(self.text, asked.subset, combine=asked.subset == self.text.cfg.train_subset)
            return RespelledTopK(
                self.ensemble, self.text, text, self.task, dataset, kept.k, self.like, asked.max_tokens
            )
        settings = (asked.kd_temperature, self.like, asked.max_tokens)
        if kept.sampled:
            return TeacherSampled(self.ensemble, self.task, dataset, kept, *settings)
        return TeacherTopK(self.ensemble, self.task, dataset, kept.k, *settings)

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
