"""Measure a fairseq model under teacher forcing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..analysis.measurement import Measurement, Plan
from ..errors import UserError
from ..teachers import OnlineTeacher
from ..teachers.forced import TeacherForcing, dropout


class Model:
    """A teacher or student to measure."""

    def __init__(self, paths: str, name: str, task: Any, teacher_data: str | None, like: Tensor, max_tokens: int):
        """Load checkpoints, joined by `:`, for a task.

        Raises:
            UserError: if a checkpoint cannot be read or does not fit the task.
        """
        self.paths, self.name, self.task, self.like, self.max_tokens = paths, name, task, like, max_tokens
        self.teacher = OnlineTeacher.from_checkpoints(paths, task, teacher_data, beside="data")
        why = self.teacher.why_not_projected
        #: Why there are no penultimate activations; None if there are some.
        self.why_no_points = "it is an ensemble" if why is None and len(self.teacher.models) > 1 else why

    def forcing(self, dataset: Any) -> TeacherForcing:
        return TeacherForcing(self.teacher, self.task, dataset, self.like, self.max_tokens)

    @property
    def output(self) -> Tensor | None:
        """The output matrix, `[V, D]` float32, or None without penultimate activations."""
        if self.why_no_points:
            return None
        return self.teacher.models[0].decoder.output_projection.weight.detach().float().cpu()

    def measure(self, dataset: Any, ids: np.ndarray, plan: Plan, progress: Callable[[int], Any]) -> Measurement:
        """Measure the sentences `ids`. `progress` is called with the number of tokens of each step.

        Raises:
            UserError: if probabilities are NaN.
        """
        found: Measurement | None = None
        source = self.forcing(dataset)
        for batch in source.batches(ids):
            for said in source.outputs(batch):
                if found is None:
                    dim = None if said.hidden is None else said.hidden.size(1)
                    found = Measurement(plan, dim, said.log_probs.device)
                try:
                    found.update(said.log_probs, said.target, said.sentence, said.hidden)
                except ValueError:
                    raise UserError(
                        f"{self.paths}: the probabilities at sentence {int(said.sentence[0])} are not numbers (NaN); "
                        "use a checkpoint from before the training diverged"
                    ) from None
                progress(len(said.target))
        return found or Measurement(plan)

    def _asked(self, dataset: Any, ids: np.ndarray, types: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield log-probabilities of the types, activations and targets at targets of these types."""
        source = self.forcing(dataset)
        for batch in source.batches(ids):
            for said in source.outputs(batch):
                at = torch.isin(said.target, types.to(said.target.device))
                hidden = said.log_probs[:, :0] if said.hidden is None else said.hidden
                scores = said.log_probs[at][:, types.to(said.log_probs.device)]
                yield scores.cpu(), hidden[at].float().cpu(), said.target[at].cpu()

    def activations(self, dataset: Any, ids: np.ndarray, types: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the activations at targets of these types, `[N, D]`, and the targets, `[N]`.

        The result is None if all sentences are too long for the model.
        """
        parts = list(self._asked(dataset, ids, types))
        return (torch.cat([part[1] for part in parts]), torch.cat([part[2] for part in parts])) if parts else None

    def looks(self, dataset: Any, ids: np.ndarray, types: Tensor, most: int, draws: int) -> Tensor | None:
        """Return the difference of two types' logits at targets of either type under dropout, `[N, draws]`.

        The N occurrences are at most `most` of each type. The result is None if the model has no dropout, or N < 2.
        """
        found = []
        for seed in range(1, draws + 1):
            with dropout(self.teacher, seed):
                parts = list(self._asked(dataset, ids, types))
            scores, target = (torch.cat([part[i] for part in parts] or [torch.empty(0)]) for i in (0, 2))
            rows = torch.cat([(target == kind).nonzero().squeeze(1)[:most] for kind in types])
            if len(rows) < 2:
                return None
            found.append((scores[:, 0] - scores[:, 1])[rows])
        values = torch.stack(found, 1)
        return None if torch.equal(values[:, 0], values[:, -1]) else values
