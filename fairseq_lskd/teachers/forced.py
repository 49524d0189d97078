"""Run a teacher with teacher forcing: its distributions at the target tokens of a dataset, in batches."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

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

#: Log-probabilities per slice. On a CPU a slice of 16 MiB suits the cache; on a GPU, large slices are faster.
SLICE = {"cpu": 2**22, "cuda": 2**26}


class ForcedTeacher(Protocol):
    """A teacher that can be forced to write given targets: an `OnlineTeacher` or a `ConvertedTeacher`."""

    names: list[str]  #: of its models, for messages
    mixture: Mixture  #: the weights of its models

    @property
    def max_positions(self) -> Sequence[tuple[int, int] | None]:
        """The most source and target tokens of each model, end symbols included; None without a limit of its own."""

    def projections(self, net_input: dict[str, Any], like: Tensor, mask: Tensor) -> list[Projection] | None:
        """As `OnlineTeacher.projections`; None if it only has log-probabilities."""

    def log_probs(self, net_input: dict[str, Any], like: Tensor, temperature: float = 1.0) -> Tensor:
        """As `OnlineTeacher.log_probs`; at padding, rows may have any values."""


class Forced(NamedTuple):
    """The teacher's outputs at n target tokens."""

    log_probs: Tensor  #: [n, V] float32
    target: Tensor  #: [n] int64
    sentence: Tensor  #: [n] int64, the index of each token's sentence in the dataset
    hidden: Tensor | None  #: [n, D] last hidden states; None for ensembles and models without an output projection


def distributions(
    teacher: ForcedTeacher, net_input: dict[str, Any], rows: Tensor, like: Tensor, temperature: float = 1.0
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield log-probabilities `[n, V]` and, for a single teacher, hidden states `[n, D]` of the tokens at `rows`, [N].

    Tokens are processed in slices; there is at least one, possibly empty. Log-probabilities are float32, or float64 at
    high temperatures (see `temper`).
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
    """Yield the same as `distributions`, from the result of `OnlineTeacher.projections`."""
    alone = members[0].hidden if len(members) == 1 else None
    for part in _slices(len(members[0].hidden), members[0].weight):
        logits = (F.linear(hidden[part], weight, bias) for hidden, weight, bias in members)
        mixed = mixture.mix(temper(F.log_softmax(each, -1, dtype=torch.float32), temperature) for each in logits)
        yield mixed, None if alone is None else alone[part]


def _slices(tokens: int, classes: Tensor) -> Iterator[slice]:
    """Yield slices of tokens. `classes`, `[V, ...]`, tells the vocabulary size and the device."""
    size = max(1, SLICE["cuda" if classes.is_cuda else "cpu"] // len(classes))
    for start in range(0, max(tokens, 1), size):
        yield slice(start, start + size)


class TeacherForcing:
    """Run a teacher on batches of a dataset's sentences."""

    def __init__(self, teacher: ForcedTeacher, task: Any, dataset: Any, like: Tensor, max_tokens: int):
        """Prepare a teacher that fits the task, for a LanguagePairDataset of the task.

        like: a tensor with the device and dtype for the computation.
        max_tokens: fairseq's --max-tokens. A longer sentence gets a batch of its own.
        """
        self.teacher, self.dataset, self.like, self.max_tokens = teacher, dataset, like, max_tokens
        self.padding = task.target_dictionary.pad()
        self.limits = utils.resolve_max_positions(task.max_positions(), *teacher.max_positions)

    def too_long(self) -> int:
        """Return the number of sentences that are longer than the teacher or the task allows."""
        return len(self.dataset) - len(self.short_enough(np.arange(len(self.dataset))))

    def short_enough(self, ids: np.ndarray) -> np.ndarray:
        """Leave out sentences that are longer than the teacher or the task allows."""
        return self.dataset.filter_indices_by_size(ids, self.limits)[0]

    def batches(self, ids: np.ndarray) -> list[np.ndarray]:
        """Return batches of sentences, shortest first, without sentences that are too long for the teacher."""
        ids = self.short_enough(ids)
        sizes = self.dataset.num_tokens_vec(ids)
        ids = ids[np.argsort(sizes, kind="stable")]
        if self.dataset.supports_prefetch:
            self.dataset.prefetch(ids)
        return self.dataset.batch_by_size(ids, max_tokens=max(self.max_tokens, sizes.max(initial=0)))

    def _collate(self, ids: np.ndarray) -> tuple[dict[str, Any], Tensor]:
        """Return a batch and the mask of its target tokens `[B, T]`, on the CPU.

        The mask of a sentence is empty if its target has the padding symbol as a word.
        """
        sample = self.dataset.collater([self.dataset[i] for i in ids])
        sentences, keep = sample["id"].numpy(), sample["target"].ne(self.padding)
        whole = keep.sum(1).numpy() == self.dataset.tgt_sizes[sentences]
        if not whole.all():
            logger.warning(f"the target of sentence {sentences[~whole][0]} has the word <pad>, so it has no teacher")
            keep[~whole] = False
        return sample, keep

    @contextlib.contextmanager
    def _memory(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError:
            raise UserError(f"--max-tokens {self.max_tokens} needs more memory than the GPU has. Lower it") from None

    def _there(self, sample: dict[str, Any], keep: Tensor) -> tuple[dict[str, Any], Tensor]:
        """Return the model's input and the indices `[N]` of the mask, on the device of the computation."""
        net_input, rows = sample["net_input"], mask_indices(keep)
        if self.like.is_cuda:
            # Copies from pinned memory do not wait for the GPU.
            net_input = utils.apply_to_sample(lambda tensor: tensor.pin_memory(), net_input)
            rows = rows.pin_memory()
            return utils.move_to_cuda(net_input, self.like.device), rows.to(self.like.device, non_blocking=True)
        return net_input, rows

    @torch.no_grad()
    def outputs(self, ids: np.ndarray) -> Iterator[Forced]:
        """Yield the teacher's outputs for one batch, in slices of tokens.

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
    """Turn on the teacher's dropout, with its own random state."""
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
