"""Cross-entropy with a smoothed target: Shen et al. (ICLR 2021), equation (1).

With a *uniform* prior over K classes the target is `1 - alpha` on the label and `alpha / (K - 1)`
on every other class, so the label gets nothing back. With another prior `u` (Szegedy et al., CVPR
2016, section 7; the unigram distribution in translation) it is `(1 - alpha) * onehot + alpha * u`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def negative_log_likelihood(log_probs: Tensor, target: Tensor, ignore: Tensor) -> Tensor:
    """`-log p(target)` of each token, in nats; 0 at ignored tokens.

    Args:
        log_probs: `[..., K]`, the model's log-probabilities.
        target: `[...]`, the labels, int64.
        ignore: `[...]`, bool; True where a token does not count (padding), and has no gradient.

    Returns:
        `[...]`.
    """
    return -log_probs.gather(-1, target.unsqueeze(-1)).squeeze(-1).masked_fill(ignore, 0.0)


def smoothing_term(log_probs: Tensor, ignore: Tensor, prior: Tensor | None = None) -> Tensor:
    """What the smoothing prior adds at each token: `-sum_k log p(k)`, or `-sum_k u(k) log p(k)` with a prior.

    Args:
        log_probs: `[..., K]`; ignore: `[...]` bool.
        prior: `[K]`, probabilities; None is the uniform prior.

    Returns:
        `[...]`, 0 at ignored tokens.
    """
    # Not `log_probs @ prior`, which autocast would compute in half precision.
    total = log_probs.sum(-1) if prior is None else (log_probs * prior.to(log_probs)).sum(-1)
    return -total.masked_fill(ignore, 0.0)


def smoothed_cross_entropy(
    nll: Tensor, smooth: Tensor, label_smoothing: float, classes: int, uniform: bool = True
) -> Tensor:
    """Cross-entropy against the smoothed target, from both terms of each token or from sums of them.

    It is linear in both terms. Summing first and combining last is what fairseq's
    `label_smoothed_cross_entropy` does, and gives its result to the last bit.

    Args:
        nll: as `negative_log_likelihood` returns it, or a weighted sum over tokens.
        smooth: as `smoothing_term` returns it, or the same sum of that.
        label_smoothing: `alpha`, in [0, 1).
        classes: K.
        uniform: whether `smooth` was taken under the uniform prior.
    """
    if not uniform:
        return (1.0 - label_smoothing) * nll + label_smoothing * smooth
    # `smooth` sums over the label too, hence the second subtraction.
    other = label_smoothing / (classes - 1)
    return (1.0 - label_smoothing - other) * nll + other * smooth


def count_types(targets: Any, ids: Any, classes: int, padding: int) -> Tensor:
    """`[K]` int64, how often each type occurs in these sentences, padding aside.

    Args:
        targets: by number, `[length]` int tensors.
        ids: `[n]`, the numbers that count: a range, a list or an array.
        classes: K.
    """
    counts = torch.zeros(classes, dtype=torch.int64)
    for start in range(0, len(ids), 10_000):
        block = torch.cat([targets[i] for i in ids[start : start + 10_000]])
        counts += torch.bincount(block.long(), minlength=classes)
    counts[padding] = 0
    return counts


def unigram_prior(counts: Tensor) -> Tensor:
    """`[K]` relative frequencies, float32, of `[K]` counts.

    Raises:
        ValueError: if there is nothing to count.
    """
    total = counts.sum()
    if total <= 0:
        raise ValueError("the unigram prior needs at least one counted token")
    return (counts.double() / total).to(torch.float32)
