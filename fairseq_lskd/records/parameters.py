"""The number of parameters of a model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..teachers.checkpoint import is_weight

_TIED = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "decoder.output_projection.weight")


def count_parameters(weights: Mapping[str, Tensor]) -> int:
    """Count the parameters in a fairseq checkpoint. Tied matrices count once, unused copies do not count."""
    total = 0
    seen: list[Tensor] = []
    for name, weight in weights.items():
        if not is_weight(name):
            continue
        if name in _TIED:
            if any(weight.shape == other.shape and torch.equal(weight, other) for other in seen):
                continue
            seen.append(weight)
        total += weight.numel()
    return total
