"""How large a model is, as it decodes."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

# fairseq 0.12's encoder layers keep a second copy of their weights for a fast path of PyTorch's.
_UNUSED = re.compile(r"encoder\.layers\.\d+\.(in_proj|out_proj|fc1|fc2)_(weight|bias)")
# Buffers and counters.
_NO_WEIGHTS = re.compile(r"(^|\.)(version|_float_tensor|num_updates)$")
_TIED = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "decoder.output_projection.weight")


def count_parameters(weights: Mapping[str, Tensor]) -> int:
    """Parameters of a fairseq model from its checkpoint's weights: tied matrices once, unused copies not at all."""
    total = 0
    seen: list[Tensor] = []
    for name, weight in weights.items():
        if _UNUSED.search(name) or _NO_WEIGHTS.search(name):
            continue
        if name in _TIED:
            if any(weight.shape == other.shape and torch.equal(weight, other) for other in seen):
                continue
            seen.append(weight)
        total += weight.numel()
    return total
