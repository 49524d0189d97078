"""Run a teacher on the sentences of a dataset and take the k most probable classes at each token."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..losses import Draws, TopK, top_k
from .forced import ForcedTeacher, TeacherForcing, distributions

#: What a cache stores of tokens' distributions.
Kept = TopK | Draws


class Source(Protocol):
    """What a cache is written from: see `TeacherTopK`, whose methods these are."""

    @property
    def limits(self) -> tuple[int, ...]: ...
    def too_long(self) -> int: ...
    def batches(self, ids: np.ndarray) -> list[np.ndarray]: ...
    def infer(self, ids: np.ndarray) -> tuple[np.ndarray, Kept]: ...
    def infer_all(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, Kept]]: ...


class TeacherTopK(TeacherForcing):
    """Run a teacher on a dataset and take the most probable classes at each token."""

    def __init__(
        self, teacher: ForcedTeacher, task: Any, dataset: Any, k: int, temperature: float, like: Tensor, max_tokens: int
    ):
        """Prepare the teacher as `TeacherForcing` does, for the top k at a temperature."""
        super().__init__(teacher, task, dataset, like, max_tokens)
        self.k, self.temperature = k, temperature

    @torch.no_grad()
    def whole(self, ids: np.ndarray) -> list[Tensor]:
        """Return the log-probabilities of all classes at the tokens of one batch: slices `[n, V]`, on the CPU."""
        sample, keep = self._collate(ids)
        with self._memory():
            net_input, rows = self._there(sample, keep)
            found = distributions(self.teacher, net_input, rows, self.like, self.temperature)
            return [log_probs.cpu() for log_probs, _ in found]

    def _keeper(self, sentences: np.ndarray, counts: np.ndarray) -> Callable[[Tensor, slice], Kept]:
        """Return the function from the log-probabilities of a slice of a batch's tokens to what is kept of them.

        Args:
            sentences: the indices of the batch's sentences in the dataset.
            counts: their numbers of tokens.
        """
        return lambda log_probs, rows: top_k(log_probs, self.k)

    def infer(self, ids: np.ndarray) -> tuple[np.ndarray, Kept]:
        """Return the most probable classes at the tokens of one batch.

        Returns:
            The sentences in the order of their tokens, and the tokens' classes, on the CPU. Sentences that have the
            padding symbol as a target word are left out.

        Raises:
            UserError: if the teacher's probabilities are NaN, or the GPU's memory is too small.
        """
        return self._fetch(*self._begin(ids))

    def infer_all(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, Kept]]:
        """Yield the result of `infer` for each batch. A GPU computes the next batch while a result is fetched."""
        begun: deque[tuple[np.ndarray, np.ndarray, Kept]] = deque()
        for ids in batches:
            begun.append(self._begin(ids))
            if not self.like.is_cuda or len(begun) > 1:
                yield self._fetch(*begun.popleft())
        for each in begun:
            yield self._fetch(*each)

    @torch.no_grad()
    def _begin(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, Kept]:
        """Return the ids, the sentences of the result, and the result on the device of the computation."""
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
        check_not_nan(found, ids)
        return sentences, found


def check_not_nan(found: Kept, ids: np.ndarray) -> None:
    """Raise a `UserError` if a teacher's probabilities are NaN in the batch of these sentences."""
    if found.log_probs.isnan().any():
        raise UserError(
            f"the teacher's probabilities are NaN in the batch of sentence {ids[0]}. Train the teacher again, or leave "
            "--fp16 or --compute-type out"
        )
