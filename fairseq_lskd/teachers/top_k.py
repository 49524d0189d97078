"""What a teacher thinks of the sentences of a dataset, cut down to the k most probable classes at each token."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..losses import TopK, top_k
from .forced import TeacherForcing, distributions
from .online import OnlineTeacher


class TeacherTopK(TeacherForcing):
    """A teacher's best classes at the tokens of a dataset's sentences."""

    def __init__(
        self, teacher: OnlineTeacher, task: Any, dataset: Any, k: int, temperature: float, like: Tensor, max_tokens: int
    ):
        """As `TeacherForcing`, for k classes of the distributions at a temperature."""
        super().__init__(teacher, task, dataset, like, max_tokens)
        self.k, self.temperature = k, temperature

    def infer(self, ids: np.ndarray) -> tuple[np.ndarray, TopK]:
        """The best classes at the tokens of one batch.

        Returns:
            The sentences in the order in which their tokens follow each other, and the tokens' distributions, on
            the CPU. A sentence whose target has the padding symbol as a word is left out.

        Raises:
            UserError: if the teacher's probabilities are not numbers, or the GPU's memory is too small.
        """
        return self._fetch(*self._begin(ids))

    def infer_all(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, TopK]]:
        """`infer` one batch after the other; a GPU is at the next one while the result of the last is fetched."""
        begun: deque[tuple[np.ndarray, np.ndarray, TopK]] = deque()
        for ids in batches:
            begun.append(self._begin(ids))
            if not self.like.is_cuda or len(begun) > 1:
                yield self._fetch(*begun.popleft())
        for each in begun:
            yield self._fetch(*each)

    @torch.no_grad()
    def _begin(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, TopK]:
        """The ids, those of them that the result is of, and the result where it is computed."""
        sample, keep = self._collate(ids)
        sentences, whole = sample["id"].numpy(), keep.any(1).numpy()
        with self._memory():
            net_input, rows = self._there(sample, keep)
            parts = [
                top_k(log_probs, self.k)
                for log_probs, _ in distributions(self.teacher, net_input, rows, self.like, self.temperature)
            ]
            return ids, sentences[whole], TopK(*map(torch.cat, zip(*parts, strict=True)))

    def _fetch(self, ids: np.ndarray, sentences: np.ndarray, result: TopK) -> tuple[np.ndarray, TopK]:
        with self._memory():
            found = TopK(*(field.cpu() for field in result))
        if found.log_probs.isnan().any():
            raise UserError(
                f"--teacher-path: at sentence {ids[0]} and others the teacher's probabilities are not numbers; "
                "train it again, or leave out --fp16"
            )
        return sentences, found
