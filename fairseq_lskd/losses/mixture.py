"""How the distributions of several teachers are put together: equally, by fixed weights, or by their entropy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .divergence import mix_log_probs


@dataclass(frozen=True)
class Mixture:
    """The weights of the members of an ensemble, in a mean of their probabilities."""

    weights: tuple[float, ...] | None = None  #: above 0, a member each; None: all alike
    #: Whether a member's weight at a token is `exp(-H)`, one over its perplexity there, so that who is sure says more.
    #: Kwon et al. (ICASSP 2020) let the teachers of lower entropy weigh more.
    by_entropy: bool = False

    @property
    def is_mean(self) -> bool:
        return self.weights is None and not self.by_entropy

    def log_weight(self, member: int, log_probs: Tensor) -> Tensor:
        """`[..., 1]`: the logarithm of a member's weight, up to a constant; its log-probabilities are `[..., K]`."""
        found = torch.zeros_like(log_probs[..., :1])
        if self.weights is not None:
            found += math.log(self.weights[member])
        if self.by_entropy:
            found -= torch.special.entr(log_probs.exp()).sum(-1, keepdim=True)
        return found

    def mix(self, log_probs: Iterable[Tensor]) -> Tensor:
        """The logarithm of the mean of several distributions, `[..., K]` each, taken one at a time.

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


MEAN = Mixture()
