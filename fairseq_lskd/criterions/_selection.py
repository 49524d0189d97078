"""`--kd-select`: select the tokens that have the teacher's term (Wang et al., ACL 2021; see `losses.selection`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.distributed import utils as distributed_utils
from torch import Tensor

from ..losses import loss_threshold
from ._batch import Batch

#: Adds values `[N]` to the criterion's queue and returns the queue; NaN marks places that are not filled yet.
Remember = Callable[[Tensor], Tensor]


def hardest_of_batch(nll: Tensor, share: float, remember: Remember) -> Tensor:
    return nll >= loss_threshold(nll, share)


def hardest_of_last_batches(nll: Tensor, share: float, remember: Remember) -> Tensor:
    values = remember(_gather(nll.float()))  # of all workers, so that the queue is the same everywhere
    return nll >= loss_threshold(values[~values.isnan()], share)


#: The choices of --kd-select: (values `[N]`, share, queue) -> mask `[N]`, true at the share with the highest values.
SELECTIONS: dict[str, Callable[[Tensor, float, Remember], Tensor]] = {
    "batch": hardest_of_batch,
    "global": hardest_of_last_batches,
}


@dataclass(frozen=True)
class SelectionInputs:
    """The inputs of the criteria of --kd-select-by. Functions compute the expensive ones, only when needed."""

    batch: Batch
    nll: Callable[[], Tensor]  #: the student's cross-entropies with the labels, `[N]`
    embeddings: Callable[[], Tensor]  #: the student's embeddings of target types, `[K, D]`
    counts: Callable[[], Tensor]  #: the count of each type in the training target, `[K]`
    teacher: Any  #: `statistics(batch)` returns entropies and the labels' probabilities, `[N]` each


def sentence_ce(inputs: SelectionInputs) -> Tensor:
    nll, sentences = inputs.nll(), inputs.batch.sentences
    sums = nll.new_zeros(inputs.batch.target.size(0))
    tokens = torch.zeros_like(sums).index_add_(0, sentences, torch.ones_like(nll))
    return (sums.index_add_(0, sentences, nll) / tokens)[sentences]


def length(inputs: SelectionInputs) -> Tensor:
    batch = inputs.batch
    return batch.target.ne(batch.padding).sum(1)[batch.sentences].float()


#: The choices of --kd-select-by: functions that return a value for each token of the mask, `[N]` (Wang et al., 2021,
#: section 4).
CRITERIA: dict[str, Callable[[SelectionInputs], Tensor]] = {
    "word_ce": lambda inputs: inputs.nll(),
    "sentence_ce": sentence_ce,
    "word_norm": lambda inputs: inputs.embeddings()[inputs.batch.labels].float().norm(dim=-1),
    "frequency": lambda inputs: inputs.counts()[inputs.batch.labels].float(),
    "length": length,
    "teacher_entropy": lambda inputs: inputs.teacher.statistics(inputs.batch)[0],
    "teacher_golden": lambda inputs: inputs.teacher.statistics(inputs.batch)[1],
}
#: The criteria that need an online teacher.
OF_TEACHER = ("teacher_entropy", "teacher_golden")


def _gather(values: Tensor) -> Tensor:
    """Return the values `[N]` of all workers, in the order of ranks. N may differ between workers."""
    world = distributed_utils.get_data_parallel_world_size()
    if world == 1:
        return values
    group = distributed_utils.get_data_parallel_group()
    counts = [torch.zeros(1, dtype=torch.long, device=values.device) for _ in range(world)]
    torch.distributed.all_gather(counts, torch.full_like(counts[0], values.numel()), group=group)
    padded = values.new_zeros(int(max(counts)))
    padded[: values.numel()] = values
    parts = [torch.empty_like(padded) for _ in range(world)]
    torch.distributed.all_gather(parts, padded, group=group)
    return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)])
