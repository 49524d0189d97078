"""`--kd-select`: which tokens the teacher teaches (Wang et al., ACL 2021; see `losses.selection`)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from fairseq.distributed import utils as distributed_utils
from torch import Tensor

from ..losses import loss_threshold

#: Puts values `[N]` into the criterion's queue, which checkpoints keep, and returns it: NaN where it is not full yet.
Remember = Callable[[Tensor], Tensor]


def hardest_of_batch(nll: Tensor, share: float, remember: Remember) -> Tensor:
    return nll >= loss_threshold(nll, share)


def hardest_of_last_batches(nll: Tensor, share: float, remember: Remember) -> Tensor:
    values = remember(_gather(nll.float()))  # of all workers, so that the queue is the same everywhere
    return nll >= loss_threshold(values[~values.isnan()], share)


#: --kd-select: of the student's cross-entropies with the labels, `[N]`, --kd-select-share and the queue, which tokens
#: are taught, `[N]` bool.
SELECTIONS: dict[str, Callable[[Tensor, float, Remember], Tensor]] = {
    "batch": hardest_of_batch,
    "global": hardest_of_last_batches,
}


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
