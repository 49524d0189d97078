"""Accuracy, entropy and calibration of a model's predictions, as sums that can be added over batches."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: Number of equal-width confidence bins of the expected calibration error (Guo et al., ICML 2017).
BINS = 15


class PredictionSums(NamedTuple):
    """Sums over tokens. Add them over batches and workers."""

    tokens: Tensor  #: [] int64, number of tokens
    correct: Tensor  #: [] int64, number of tokens where the most probable class is the label
    entropy: Tensor  #: [], nats
    gaps: Tensor  #: [BINS], sum of (confidence - correct) over the tokens of each bin


def prediction_sums(log_probs: Tensor, target: Tensor, ignore: Tensor) -> PredictionSums:
    """Compute the sums for accuracy, mean entropy and expected calibration error.

    The expected calibration error is `sum(|gaps|) / tokens`.

    Args:
        log_probs: `[N, K]`.
        target: `[N]`.
        ignore: `[N]` bool, true at tokens to leave out.
    """
    keep = ~ignore
    log_probs, target = log_probs[keep], target[keep]
    confidence, guess = log_probs.max(-1)
    correct = guess.eq(target)
    entropy = torch.special.entr(log_probs.exp()).sum()
    return PredictionSums(keep.sum(), correct.sum(), entropy, confidence_gaps(confidence.exp(), correct))


def confidence_gaps(confidence: Tensor, correct: Tensor) -> Tensor:
    """Return the sum of (confidence - correct) over the tokens of each bin, `[BINS]`.

    Args:
        confidence: `[N]`, the probability of the most probable class.
        correct: `[N]` bool, whether it is the label.
    """
    # Bins are (lower, upper], as in the paper; a confidence of 0 cannot occur.
    bins = (confidence * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
    gaps = torch.zeros(BINS, dtype=torch.float64, device=confidence.device)
    return gaps.index_add_(0, bins, confidence.double() - correct.double()).to(confidence.dtype)
