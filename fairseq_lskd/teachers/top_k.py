"""What a teacher thinks of the sentences of a dataset, cut down to the k most probable classes at each token."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from fairseq import utils
from torch import Tensor

from ..errors import UserError
from ..losses import TopK, mix_log_probs, temper, top_k
from .online import OnlineTeacher

logger = logging.getLogger(__name__)

#: Log-probabilities among which the top k are sought at once: 16 MiB, which stay near the cache of a CPU.
SLICE = 2**22


def _distributions(
    teacher: OnlineTeacher, net_input: dict[str, Any], keep: Tensor, like: Tensor, temperature: float
) -> Iterator[Tensor]:
    """The teacher's log-probabilities where `keep` `[B, T]` is set, row by row: `[n, V]` float32 at a time."""
    members = teacher.projections(net_input, like, keep)
    if members is not None:
        for rows in _slices(members[0].hidden.size(0), members[0].weight.size(0)):
            parts = (F.linear(hidden[rows], weight, bias) for hidden, weight, bias in members)
            yield mix_log_probs(temper(F.log_softmax(part, -1, dtype=torch.float32), temperature) for part in parts)
        return
    log_probs = teacher.log_probs(net_input, like, temperature).flatten(0, 1)
    positions = keep.flatten().nonzero().squeeze(1)
    for rows in _slices(len(positions), log_probs.size(1)):
        yield log_probs[positions[rows]]


def _slices(tokens: int, vocabulary: int) -> Iterator[slice]:
    size = max(1, SLICE // vocabulary)
    for start in range(0, max(tokens, 1), size):
        yield slice(start, start + size)


class TeacherTopK:
    """A teacher that is asked about batches of a dataset's sentences."""

    def __init__(
        self, teacher: OnlineTeacher, task: Any, dataset: Any, k: int, temperature: float, like: Tensor, max_tokens: int
    ):
        """The teacher fits the task, and the dataset is one of its LanguagePairDatasets.

        like: a tensor of the device and dtype in which to compute.
        max_tokens: as fairseq's --max-tokens; a sentence that is longer still gets a batch of its own.
        """
        self.teacher, self.dataset, self.k, self.temperature, self.like = teacher, dataset, k, temperature, like
        self.max_tokens = max_tokens
        self.padding = task.target_dictionary.pad()
        self.limits = utils.resolve_max_positions(
            task.max_positions(), *(model.max_positions() for model in teacher.models)
        )

    def too_long(self) -> int:
        """How many of the dataset's sentences are longer than the teacher or the task allows."""
        return len(self.dataset) - len(self._short_enough(np.arange(len(self.dataset))))

    def _short_enough(self, ids: np.ndarray) -> np.ndarray:
        return self.dataset.filter_indices_by_size(ids, self.limits)[0]

    def batches(self, ids: np.ndarray) -> list[np.ndarray]:
        """Sentences in batches, shortest first, without those that fairseq-train would skip with such a model."""
        ids = self._short_enough(ids)
        sizes = self.dataset.num_tokens_vec(ids)
        ids = ids[np.argsort(sizes, kind="stable")]
        if self.dataset.supports_prefetch:
            self.dataset.prefetch(ids)
        return self.dataset.batch_by_size(ids, max_tokens=max(self.max_tokens, sizes.max(initial=0)))

    @torch.no_grad()
    def ask(self, ids: np.ndarray) -> tuple[np.ndarray, TopK]:
        """Ask about one batch.

        Returns:
            The sentences in the order in which their tokens follow each other, and the tokens' distributions, on
            the CPU. A sentence whose target has the padding symbol as a word is left out.

        Raises:
            UserError: if the teacher's probabilities are not numbers, or the GPU's memory is too small.
        """
        sample = self.dataset.collater([self.dataset[i] for i in ids])
        sentences, keep = sample["id"].numpy(), sample["target"].ne(self.padding)
        whole = keep.sum(1).numpy() == self.dataset.tgt_sizes[sentences]
        if not whole.all():
            logger.warning(f"the target of sentence {sentences[~whole][0]} has <pad> as a word: it gets no teacher")
            keep[~whole] = False
        net_input = sample["net_input"]
        if self.like.is_cuda:
            net_input, keep = utils.move_to_cuda(net_input, self.like.device), keep.to(self.like.device)
        try:
            parts = [
                [field.cpu() for field in top_k(log_probs, self.k)]
                for log_probs in _distributions(self.teacher, net_input, keep, self.like, self.temperature)
            ]
        except torch.OutOfMemoryError:
            raise UserError(f"--max-tokens {self.max_tokens}: too much for the GPU's memory; lower it") from None
        found = TopK(*map(torch.cat, zip(*parts, strict=True)))
        if found.rest.isnan().any():
            raise UserError(
                f"--teacher-path: at sentence {ids[0]} and others the teacher's probabilities are not numbers; "
                "train it again, or leave out --fp16"
            )
        return sentences[whole], found
