"""The number of parameters of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ..teachers.checkpoint import is_weight

#: Embeddings that may be tied to each other.
_TIED = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "decoder.output_projection.weight")


#: A multilingual_transformer has a model for each language pair, and lists layers that several of them share in each.
_MODEL = re.compile(r"models\.[^.]+\.")


def count_parameters(weights: Mapping[str, Tensor]) -> int:
    """Count the parameters in a fairseq checkpoint. Tied and shared ones count once, unused copies do not count."""
    total = 0
    alike: dict[str, list[Tensor]] = {}  # weights that are the same if they are equal
    for name, weight in weights.items():
        if not is_weight(name):
            continue
        layer = _MODEL.sub("", name, count=1)
        seen = alike.setdefault("embeddings" if layer in _TIED else layer, [])
        if not any(weight.shape == other.shape and torch.equal(weight, other) for other in seen):
            seen.append(weight)
            total += weight.numel()
    return total
