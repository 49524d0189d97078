"""What a teacher thinks of the sentences of a dataset, cut down to the k most probable classes at each token."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..losses import Draws, TopK, top_k
from .forced import TeacherForcing, distributions
from .online import OnlineTeacher

#: What is kept of some tokens' distributions.
Kept = TopK | Draws


class TeacherTopK(TeacherForcing):
    """A teacher's best classes at the tokens of a dataset's sentences."""

    def __init__(
        self, teacher: OnlineTeacher, task: Any, dataset: Any, k: int, temperature: float, like: Tensor, max_tokens: int
    ):
        """As `TeacherForcing`, for k classes of the distributions at a temperature."""
        super().__init__(teacher, task, dataset, like, max_tokens)
        self.k, self.temperature = k, temperature

    @torch.no_grad()
    def whole(self, ids: np.ndarray) -> list[Tensor]:
        """All classes' log-probabilities at the tokens of one batch, `[n, V]`, some tokens each, on the CPU."""
        sample, keep = self._collate(ids)
        with self._memory():
            net_input, rows = self._there(sample, keep)
            found = distributions(self.teacher, net_input, rows, self.like, self.temperature)
            return [log_probs.cpu() for log_probs, _ in found]

    def _keeper(self, sentences: np.ndarray, counts: np.ndarray) -> Callable[[Tensor, slice], Kept]:
        """What to keep of the log-probabilities of some of a batch's tokens.

        Args:
            sentences: the dataset's numbers of a batch's sentences; counts: their tokens.
        """
        return lambda log_probs, rows: top_k(log_probs, self.k)

    def infer(self, ids: np.ndarray) -> tuple[np.ndarray, Kept]:
        """The best classes at the tokens of one batch.

        Returns:
            The sentences in the order in which their tokens follow each other, and the tokens' distributions, on
            the CPU. A sentence whose target has the padding symbol as a word is left out.

        Raises:
            UserError: if the teacher's probabilities are not numbers, or the GPU's memory is too small.
        """
        return self._fetch(*self._begin(ids))

    def infer_all(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, Kept]]:
        """`infer` one batch after the other; a GPU is at the next one while the result of the last is fetched."""
        begun: deque[tuple[np.ndarray, np.ndarray, Kept]] = deque()
        for ids in batches:
            begun.append(self._begin(ids))
            if not self.like.is_cuda or len(begun) > 1:
                yield self._fetch(*begun.popleft())
        for each in begun:
            yield self._fetch(*each)

    @torch.no_grad()
    def _begin(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, Kept]:
        """The ids, those of them that the result is of, and the result where it is computed."""
        sample, keep = self._collate(ids)
        sentences, whole = sample["id"].numpy(), keep.any(1).numpy()
        kept, done = self._keeper(sentences, keep.sum(1).numpy()), 0
        with self._memory():
            net_input, rows = self._there(sample, keep)
            parts = []
            for log_probs, _ in distributions(self.teacher, net_input, rows, self.like, self.temperature):
                parts.append(kept(log_probs, slice(done, done + len(log_probs))))
                done += len(log_probs)
            return ids, sentences[whole], type(parts[0])(*map(torch.cat, zip(*parts, strict=True)))

    def _fetch(self, ids: np.ndarray, sentences: np.ndarray, result: Kept) -> tuple[np.ndarray, Kept]:
        with self._memory():
            found = type(result)(*(field.cpu() for field in result))
        if found.log_probs.isnan().any():
            raise UserError(
                f"--teacher-path: at sentence {ids[0]} and others the teacher's probabilities are not numbers; "
                "train it again, or leave out --fp16"
            )
        return sentences, found
