"""The weighted mean of several teachers' distributions: equal weights, fixed weights, or weights by entropy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .divergence import mix_log_probs


@dataclass(frozen=True)
class Mixture:
    """The weights in the mean of an ensemble's probabilities."""

    weights: tuple[float, ...] | None = None  #: one per member, above 0; None gives equal weights
    #: Whether to multiply a member's weight at each token by `exp(-H)`, 1 / perplexity of its distribution. Kwon et al.
    #: (ICASSP 2020) give higher weights to teachers with lower entropy too.
    by_entropy: bool = False

    @property
    def is_mean(self) -> bool:
        return self.weights is None and not self.by_entropy

    def log_weight(self, member: int, log_probs: Tensor) -> Tensor:
        """Return the logarithm of the weight of a member with these log-probabilities, `[..., 1]`, up to a constant."""
        found = torch.zeros_like(log_probs[..., :1])
        if self.weights is not None:
            found += math.log(self.weights[member])
        if self.by_entropy:
            found -= torch.special.entr(log_probs.exp()).sum(-1, keepdim=True)
        return found

    def mix(self, log_probs: Iterable[Tensor]) -> Tensor:
        """Return the logarithm of the weighted mean of distributions, one `[..., K]` tensor per member.

        Raises:
            ValueError: if there is none.
        """
        if self.is_mean:
            return mix_log_probs(log_probs)
        mixed: Tensor | None = None
        total: Tensor | None = None
        for member, part in enumerate(log_probs):
            weight = self.log_weight(member, part)
            total = weight if total is None else torch.logaddexp(total, weight)
            mixed = part + weight if mixed is None else torch.logaddexp(mixed, part + weight)
        if mixed is None or total is None:
            raise ValueError("the mean of no distribution")
        return mixed - total

    def mix_known(self, probabilities: Sequence[Tensor]) -> Tensor:
        """Return the weighted mean of distributions, of which some may be missing at some tokens.

        Args:
            probabilities: one `[..., K]` tensor per member; a row of zeros is a token at which the member is missing.
                The other members have all of the weight there.

        Returns:
            `[..., K]`, with zeros where all members are missing.
        """
        if len(probabilities) == 1:
            return probabilities[0]
        # Fixed weights need no logarithms of the distributions.
        parts = [part.log() if self.by_entropy else part for part in probabilities]
        logs = torch.stack([self.log_weight(member, part) for member, part in enumerate(parts)])
        # A row with NaN is not missing, so that a broken member shows in the mean.
        missing = torch.stack([part.eq(0).all(-1, keepdim=True) for part in probabilities])
        weights = logs.masked_fill(missing, -torch.inf).softmax(0).masked_fill(missing.all(0), 0.0)
        mixed = weights[0] * probabilities[0]
        for weight, part in zip(weights[1:], probabilities[1:], strict=True):
            mixed += weight * part
        return mixed


MEAN = Mixture()
