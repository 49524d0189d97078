"""Selective distillation (Wang et al., ACL 2021): the teacher speaks only where the student finds a token hard.

Hard is what has a high cross-entropy with the label, among the tokens of the batch (section 5.2, batch-level
selection) or among the last tokens of all batches (global-level selection, with a first-in-first-out queue).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def loss_threshold(nll: Tensor, share: float) -> Tensor:
    """`[]`: the smallest of the greatest `share` of some `[N]` values; infinite if there are none."""
    count = math.ceil(share * nll.numel() * (1 - 1e-12))  # 0.28 * 25 is a little above 7
    return nll.topk(count).values[-1] if count else nll.new_tensor(torch.inf)


def push(queue: Tensor, nll: Tensor) -> Tensor:
    """The queue `[size]`, oldest first and NaN where it was never filled, with values `[N]` in place of the oldest."""
    return torch.cat([queue, nll.to(queue)])[-queue.numel() :]
