"""How much a difference of two logits says about which example it is of (Müller et al., NeurIPS 2019, section 4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mutual_information(values: Tensor) -> float:
    """`I(X; Y)` in nats, at most log N, from repeated noisy looks at N examples.

    X is the example, uniform over the N, and Y a scalar that the model computes from it under random noise
    (of the input, or of dropout). As in the paper, p(y | x) is taken for a Gaussian of its own mean for
    each x and one variance for all: `I = mean_{x,l} log [ p(y_xl | x) / ((1/N) sum_x' p(y_xl | x')) ]`, where

        mu_x = (1/L) sum_l y_xl,    sigma^2 = (1 / (N L)) sum_xl (y_xl - mu_x)^2.

    Args:
        values: `[N, L]`, y_xl, N >= 2 examples under L >= 2 draws of the noise.

    Raises:
        ValueError: if there are fewer of either, or the noise changes nothing.
    """
    if values.dim() != 2 or min(values.shape) < 2:
        raise ValueError(f"mutual information needs two examples and two draws, found {tuple(values.shape)}")
    values = values.double()
    centre = values.mean(1)
    variance = (values - centre[:, None]).square().mean().item()
    if not variance > 0:
        raise ValueError("the model's outputs do not vary: there is no noise to compare the examples with")
    size = len(values)
    total = 0.0
    for draw in values.T:  # [N] at a time, so that memory is N x N
        densities = -(draw[:, None] - centre[None, :]).square() / (2 * variance)
        total += (densities.diagonal() - densities.logsumexp(1) + math.log(size)).sum().item()
    return total / values.numel()


def mutual_information_draws(values: Tensor, draws: int = 200, seed: int = 1) -> Tensor:
    """`[draws]` estimates, each of half of the examples, drawn without replacement.

    Resampling with replacement would put the same example in twice, which no logit can tell from itself.
    """
    random = torch.Generator().manual_seed(seed)
    half = max(2, len(values) // 2)
    chosen = [torch.randperm(len(values), generator=random)[:half] for _ in range(draws)]
    return torch.tensor([mutual_information(values[rows]) for rows in chosen], dtype=torch.float64)
