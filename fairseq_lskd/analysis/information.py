"""Mutual information between an example and a difference of its logits (Müller et al., NeurIPS 2019, section 4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mutual_information(values: Tensor) -> float:
    """Return `I(X; Y)` in nats, from repeated noisy evaluations of N examples. It is at most log N.

    X is the example, uniform over N, and Y a scalar that the model computes from it under random noise (of the input or
    of dropout). As in the paper, p(y | x) is modelled as a Gaussian with a mean for each x and one variance for all:
    `I = mean_{x,l} log [ p(y_xl | x) / ((1/N) sum_x' p(y_xl | x')) ]`, where

        mu_x = (1/L) sum_l y_xl,    sigma^2 = (1 / (N L)) sum_xl (y_xl - mu_x)^2.

    Args:
        values: `[N, L]`, y_xl of N >= 2 examples and L >= 2 draws of the noise.

    Raises:
        ValueError: if N or L is too small, or the values do not vary.
    """
    if values.dim() != 2 or min(values.shape) < 2:
        raise ValueError(f"mutual information needs at least two examples and two draws, found {tuple(values.shape)}")
    values = values.double()
    centre = values.mean(1)
    variance = (values - centre[:, None]).square().mean().item()
    if not variance > 0:
        raise ValueError("the model's outputs do not vary: found no noise, expected dropout")
    size = len(values)
    total = 0.0
    for draw in values.T:  # one draw at a time, which needs [N, N]
        densities = -(draw[:, None] - centre[None, :]).square() / (2 * variance)
        total += (densities.diagonal() - densities.logsumexp(1) + math.log(size)).sum().item()
    return total / values.numel()


def mutual_information_draws(values: Tensor, draws: int = 200, seed: int = 1) -> Tensor:
    """Return `[draws]` estimates, each from a random half of the examples.

    Resampling with replacement is not possible: logits cannot distinguish two copies of one example.
    """
    random = torch.Generator().manual_seed(seed)
    half = max(2, len(values) // 2)
    chosen = [torch.randperm(len(values), generator=random)[:half] for _ in range(draws)]
    return torch.tensor([mutual_information(values[rows]) for rows in chosen], dtype=torch.float64)
