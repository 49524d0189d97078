"""A teacher under teacher forcing: its distributions at the target tokens of a dataset's sentences, batch by batch."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from fairseq import utils
from torch import Tensor

from ..errors import UserError
from ..losses import MEAN, Mixture, Projection, temper
from ..models import mask_indices
from .online import OnlineTeacher

logger = logging.getLogger(__name__)

#: Log-probabilities that are looked at together: on a CPU 16 MiB, which stay near its cache; on a GPU few and large.
SLICE = {"cpu": 2**22, "cuda": 2**26}


class Forced(NamedTuple):
    """Some target tokens, and the teacher's outputs there."""

    log_probs: Tensor  #: [n, V] float32
    target: Tensor  #: [n] int64
    sentence: Tensor  #: [n] int64, the dataset's number of the sentence that each is of
    hidden: Tensor | None  #: [n, D] penultimate activations; None for ensembles and models that have none


def distributions(
    teacher: OnlineTeacher, net_input: dict[str, Any], rows: Tensor, like: Tensor, temperature: float = 1.0
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Log-probabilities `[n, V]`, and a single member's activations `[n, D]`, of the tokens at `rows`, `[N]`.

    The log-probabilities are of the dtype that `temper` makes of float32.
    So many at a time as make a slice. There is at least one slice, if an empty one.
    """
    members = teacher.projections(net_input, like, rows)
    if members is not None:
        yield from mixtures(members, temperature, teacher.mixture)
        return
    log_probs = teacher.log_probs(net_input, like, temperature).flatten(0, 1)
    for part in _slices(len(rows), log_probs.t()):
        yield log_probs[rows[part]], None


def mixtures(
    members: list[Projection], temperature: float = 1.0, mixture: Mixture = MEAN
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The same of what `OnlineTeacher.projections` found."""
    alone = members[0].hidden if len(members) == 1 else None
    for part in _slices(len(members[0].hidden), members[0].weight):
        logits = (F.linear(hidden[part], weight, bias) for hidden, weight, bias in members)
        mixed = mixture.mix(temper(F.log_softmax(each, -1, dtype=torch.float32), temperature) for each in logits)
        yield mixed, None if alone is None else alone[part]


def _slices(tokens: int, classes: Tensor) -> Iterator[slice]:
    """Of tokens; `classes`, `[V, ...]`, are where they are looked at."""
    size = max(1, SLICE["cuda" if classes.is_cuda else "cpu"] // len(classes))
    for start in range(0, max(tokens, 1), size):
        yield slice(start, start + size)


class TeacherForcing:
    """A teacher that reads batches of a dataset's sentences."""

    def __init__(self, teacher: OnlineTeacher, task: Any, dataset: Any, like: Tensor, max_tokens: int):
        """The teacher fits the task, and the dataset is one of its LanguagePairDatasets.

        like: a tensor of the device and dtype in which to compute.
        max_tokens: as fairseq's --max-tokens; a sentence that is longer still gets a batch of its own.
        """
        self.teacher, self.dataset, self.like, self.max_tokens = teacher, dataset, like, max_tokens
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

    def _collate(self, ids: np.ndarray) -> tuple[dict[str, Any], Tensor]:
        """A batch, and the mask of its target tokens `[B, T]`, on the CPU.

        That of a sentence whose target has the padding symbol as a word is empty.
        """
        sample = self.dataset.collater([self.dataset[i] for i in ids])
        sentences, keep = sample["id"].numpy(), sample["target"].ne(self.padding)
        whole = keep.sum(1).numpy() == self.dataset.tgt_sizes[sentences]
        if not whole.all():
            logger.warning(f"the target of sentence {sentences[~whole][0]} has <pad> as a word: it gets no teacher")
            keep[~whole] = False
        return sample, keep

    @contextlib.contextmanager
    def _memory(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError:
            raise UserError(f"--max-tokens {self.max_tokens}: too much for the GPU's memory; lower it") from None

    def _there(self, sample: dict[str, Any], keep: Tensor) -> tuple[dict[str, Any], Tensor]:
        """The network's input and the indices `[N]` of the mask, on the device where it is computed."""
        net_input, rows = sample["net_input"], mask_indices(keep)
        if self.like.is_cuda:
            # From pinned memory, so that the GPU is not waited for.
            net_input = utils.apply_to_sample(lambda tensor: tensor.pin_memory(), net_input)
            rows = rows.pin_memory()
            return utils.move_to_cuda(net_input, self.like.device), rows.to(self.like.device, non_blocking=True)
        return net_input, rows

    @torch.no_grad()
    def outputs(self, ids: np.ndarray) -> Iterator[Forced]:
        """The teacher's outputs for one batch, so many tokens at a time.

        Raises:
            UserError: if the GPU's memory is too small.
        """
        sample, keep = self._collate(ids)
        with self._memory():
            net_input, there = self._there(sample, keep)
            target = sample["target"][keep].to(there.device)
            sentence = sample["id"][:, None].expand_as(keep)[keep].to(there.device)
            done = 0
            for log_probs, hidden in distributions(self.teacher, net_input, there, self.like):
                rows = slice(done, done + len(log_probs))
                yield Forced(log_probs, target[rows], sentence[rows], hidden)
                done = rows.stop


@contextlib.contextmanager
def dropout(teacher: OnlineTeacher, seed: int) -> Iterator[None]:
    """The teacher with the dropout of its training, from a random state of its own."""
    devices = {p.device for model in teacher.models for p in model.parameters() if p.is_cuda}
    with torch.random.fork_rng(sorted(device.index for device in devices)):
        torch.manual_seed(seed)
        for model in teacher.models:
            model.train()
        try:
            yield
        finally:
            for model in teacher.models:
                model.eval()
