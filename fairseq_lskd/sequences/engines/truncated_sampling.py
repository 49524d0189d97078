"""Sampling without improbable tokens, which fairseq's own search lacks."""

from __future__ import annotations

from typing import Any

import torch
from fairseq.search import Sampling
from torch import Tensor


def smallest_probability(lprobs: Tensor, epsilon: float = 0.0, eta: float = 0.0) -> Tensor:
    """Return the smallest probability that a token needs to be sampled.

    Epsilon sampling uses a constant. Eta sampling (Hewitt et al., Findings of EMNLP 2022) uses
    `min(eta, sqrt(eta) * exp(-H))`, where `H` is the entropy of the distribution in nats.

    Args:
        lprobs: `[..., vocabulary]`, natural logarithms of the model's probabilities.

    Returns:
        `[..., 1]`, of the same dtype.
    """
    if not eta:
        return torch.full_like(lprobs[..., :1], epsilon)
    entropy = torch.special.entr(lprobs.exp()).sum(-1, keepdim=True)
    return (eta**0.5 * (-entropy).exp()).clamp(max=eta)


class TruncatedSampling(Sampling):
    """Sample from the tokens that have at least `smallest_probability`; the most probable token always may be drawn.

    Scores are the model's probabilities, not those of the truncated distribution, as with fairseq's top-k and top-p.
    """

    def __init__(self, dictionary: Any, epsilon: float = 0.0, eta: float = 0.0):
        super().__init__(dictionary)
        self.epsilon, self.eta = epsilon, eta

    def step(self, step: int, lprobs: Tensor, *args: Any, **kwargs: Any) -> Any:
        allowed = lprobs.exp() >= smallest_probability(lprobs, self.epsilon, self.eta)
        allowed |= lprobs == lprobs.amax(-1, keepdim=True)
        return super().step(step, lprobs.masked_fill(~allowed, -torch.inf), *args, **kwargs)
