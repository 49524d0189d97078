"""A teacher that says nothing: weights or probabilities that are not numbers, found before a student learns from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from .checkpoint import is_weight

#: The product of two such numbers is infinite in float32.
LARGEST = math.sqrt(torch.finfo(torch.float32).max)
#: By how much probabilities may miss a sum of 1: float16 keeps three digits.
SLACK = 0.05


def check_weights(path: str, weights: Mapping[str, Any]) -> None:
    """Raise a `UserError` if the weights `path` holds, that it computes with, are NaN, infinite or as good as that."""
    floating = {
        name: weight
        for name, weight in weights.items()
        if is_weight(name) and isinstance(weight, Tensor) and weight.is_floating_point()
    }
    broken = [name for name, weight in floating.items() if not bool(torch.isfinite(weight).all())]
    large = [name for name, weight in floating.items() if weight.numel() and float(weight.abs().max()) > LARGEST]
    if names := broken or large:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        what = "not numbers (NaN or infinite)" if broken else f"above {LARGEST:.2g}, whose products are infinite,"
        raise UserError(
            f"{path} holds weights that are {what} in {names[0]}{more}: its training has "
            "diverged; take an earlier checkpoint, or train it again with a lower --lr or with --clip-norm"
        )


def check_log_probs(path: str, log_probs: Tensor) -> None:
    """Raise a `UserError` if a model's log-probabilities `[..., V]` are no distributions."""
    total = log_probs.float().logsumexp(-1)
    if not bool((total.abs() < SLACK).all()):
        kind = str(log_probs.dtype).removeprefix("torch.")
        raise UserError(
            f"the teacher {path} says nothing: its probabilities are not numbers, or do not sum to 1 (in {kind}). Its "
            "weights are broken, or too large for half precision: train it again, or leave out --fp16"
        )
