"""What a model's predictions look like: accuracy, entropy, calibration; as sums, so that shards add up."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: Equal-width confidence bins of the expected calibration error (Guo et al., ICML 2017).
BINS = 15


class PredictionSums(NamedTuple):
    """Sums over counted tokens. All add up over batches and workers."""

    tokens: Tensor  #: [] int64
    correct: Tensor  #: [] int64, tokens whose most probable class is the label
    entropy: Tensor  #: [], nats
    gaps: Tensor  #: [BINS], sum of (confidence - correct) over the tokens of a bin


def prediction_sums(log_probs: Tensor, target: Tensor, ignore: Tensor) -> PredictionSums:
    """Sums from which accuracy, mean entropy and calibration error follow.

    Args:
        log_probs: `[N, K]`; target: `[N]`; ignore: `[N]` bool.

    `sum(|gaps|) / tokens` is the expected calibration error: within a bin the weighted distance
    between mean confidence and accuracy is the distance between their sums.
    """
    keep = ~ignore
    log_probs, target = log_probs[keep], target[keep]
    confidence, guess = log_probs.max(-1)
    correct = guess.eq(target)
    confidence = confidence.exp()
    # Bins are (lower, upper], as in the paper; a confidence of 0 cannot occur.
    bins = (confidence * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
    gaps = torch.zeros(BINS, dtype=log_probs.dtype, device=log_probs.device)
    gaps.index_add_(0, bins, confidence - correct.to(confidence))
    entropy = torch.special.entr(log_probs.exp()).sum()
    return PredictionSums(keep.sum(), correct.sum(), entropy, gaps)
