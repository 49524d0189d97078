"""`--kd-select`: which tokens the teacher teaches (Wang et al., ACL 2021; see `losses.selection`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.distributed import utils as distributed_utils
from torch import Tensor

from ..losses import loss_threshold
from ._batch import Batch

#: Puts values `[N]` into the criterion's queue, which checkpoints keep, and returns it: NaN where it is not full yet.
Remember = Callable[[Tensor], Tensor]


def hardest_of_batch(nll: Tensor, share: float, remember: Remember) -> Tensor:
    return nll >= loss_threshold(nll, share)


def hardest_of_last_batches(nll: Tensor, share: float, remember: Remember) -> Tensor:
    values = remember(_gather(nll.float()))  # of all workers, so that the queue is the same everywhere
    return nll >= loss_threshold(values[~values.isnan()], share)


#: --kd-select: of the values of --kd-select-by, `[N]`, --kd-select-share and the queue, which tokens are taught, `[N]`
#: bool: those with the greatest.
SELECTIONS: dict[str, Callable[[Tensor, float, Remember], Tensor]] = {
    "batch": hardest_of_batch,
    "global": hardest_of_last_batches,
}


@dataclass(frozen=True)
class Judged:
    """What the tokens of a batch can be judged by; what costs something is computed when it is asked for."""

    batch: Batch
    nll: Callable[[], Tensor]  #: the student's cross-entropies with the labels, `[N]`
    embeddings: Callable[[], Tensor]  #: the student's embeddings of target types, `[K, D]`
    counts: Callable[[], Tensor]  #: how often each type is in the training target, `[K]`
    teacher: Any  #: whose `statistics` of the batch are entropies and labels' probabilities, `[N]` each


def sentence_ce(judged: Judged) -> Tensor:
    nll, sentences = judged.nll(), judged.batch.sentences
    sums = nll.new_zeros(judged.batch.target.size(0))
    tokens = torch.zeros_like(sums).index_add_(0, sentences, torch.ones_like(nll))
    return (sums.index_add_(0, sentences, nll) / tokens)[sentences]


def length(judged: Judged) -> Tensor:
    batch = judged.batch
    return batch.target.ne(batch.padding).sum(1)[batch.sentences].float()


#: --kd-select-by: a value for each token of a batch, `[N]` (Wang et al., 2021, section 4).
CRITERIA: dict[str, Callable[[Judged], Tensor]] = {
    "word_ce": lambda judged: judged.nll(),
    "sentence_ce": sentence_ce,
    "word_norm": lambda judged: judged.embeddings()[judged.batch.labels].float().norm(dim=-1),
    "frequency": lambda judged: judged.counts()[judged.batch.labels].float(),
    "length": length,
    "teacher_entropy": lambda judged: judged.teacher.statistics(judged.batch)[0],
    "teacher_golden": lambda judged: judged.teacher.statistics(judged.batch)[1],
}
#: Those that ask a running teacher.
OF_TEACHER = ("teacher_entropy", "teacher_golden")


def _gather(values: Tensor) -> Tensor:
    """The `[N]` values of all workers, whose N may differ, in the order of their ranks."""
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
