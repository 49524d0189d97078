"""Find teachers with NaN or infinite weights or invalid probabilities before a student is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from .checkpoint import is_weight

#: Largest valid weight: products of larger numbers overflow float32.
LARGEST = math.sqrt(torch.finfo(torch.float32).max)
#: Tolerance of log sum of probabilities around 0, wide enough for float16.
SLACK = 0.05


def check_weights(path: str, weights: Mapping[str, Any]) -> None:
    """Raise a `UserError` if weights of the checkpoint `path` are NaN, infinite or so large that products overflow."""
    peaks = {
        name: float(weight.abs().max())  # NaN if any number is
        for name, weight in weights.items()
        if is_weight(name) and isinstance(weight, Tensor) and weight.is_floating_point() and weight.numel()
    }
    broken = [name for name, peak in peaks.items() if not math.isfinite(peak)]
    large = [name for name, peak in peaks.items() if peak > LARGEST]
    if names := broken or large:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        what = "NaN or infinite" if broken else f"above {LARGEST:.2g} (their products overflow)"
        raise UserError(
            f"{path} has weights that are {what}, in {names[0]}{more}. Its training has diverged. Use an earlier "
            "checkpoint, or train it again with a lower --lr or with --clip-norm"
        )


def check_log_probs(path: str, log_probs: Tensor) -> None:
    """Raise a `UserError` if a model's log-probabilities `[..., V]` are not normalised."""
    total = log_probs.float().logsumexp(-1)
    if not bool((total.abs() < SLACK).all()):
        kind = str(log_probs.dtype).removeprefix("torch.")
        raise UserError(
            f"the teacher {path} has invalid probabilities in {kind}: they are NaN, or do not sum to 1. Its weights "
            "are damaged, or too large for half precision. Train it again, or leave --fp16 out"
        )
