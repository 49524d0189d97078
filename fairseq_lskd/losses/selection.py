"""Selective distillation (Wang et al., ACL 2021): the teacher teaches only tokens that are hard for the student.

Hard tokens have a high cross-entropy with the label, compared with the tokens of the batch (section 5.2, batch-level
selection) or with the last tokens of all batches (global-level selection, with a first-in-first-out queue).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def loss_threshold(nll: Tensor, share: float) -> Tensor:
    """Return the smallest of the highest `share` of the values `[N]`, as `[]`; infinity if N is 0."""
    count = math.ceil(share * nll.numel() * (1 - 1e-12))  # in floats 0.28 * 25 is a little above 7
    return nll.topk(count).values[-1] if count else nll.new_tensor(torch.inf)


def push(queue: Tensor, nll: Tensor) -> Tensor:
    """Append values `[N]` to a queue `[size]` and drop the oldest, which are first; NaN marks unfilled places."""
    return torch.cat([queue, nll.to(queue)])[-queue.numel() :]
