"""Cross-entropy with a smoothed target (Shen et al., ICLR 2021, equation 1).

With the *uniform* prior over K classes, the target is `1 - alpha` on the label and `alpha / (K - 1)` on every other
class. With another prior `u` (Szegedy et al., CVPR 2016, section 7), such as the unigram distribution, the target is
`(1 - alpha) * onehot + alpha * u`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def negative_log_likelihood(log_probs: Tensor, target: Tensor, ignore: Tensor) -> Tensor:
    """Return `-log p(target)` of each token, `[...]`, in nats.

    Args:
        log_probs: `[..., K]`, the model's log-probabilities.
        target: `[...]` int64, the labels.
        ignore: `[...]` bool, true at tokens (padding) where the value and its gradient are set to 0.
    """
    return -log_probs.gather(-1, target.unsqueeze(-1)).squeeze(-1).masked_fill(ignore, 0.0)


def smoothing_term(log_probs: Tensor, ignore: Tensor, prior: Tensor | None = None) -> Tensor:
    """Return the smoothing term of each token, `[...]`: `-sum_k log p(k)`, or `-sum_k u(k) log p(k)` with a prior.

    Args:
        log_probs: `[..., K]`.
        ignore: `[...]` bool, true at tokens where the value is set to 0.
        prior: `[K]`, probabilities; None is the uniform prior.
    """
    # Not `log_probs @ prior`, because autocast would compute that in half precision.
    total = log_probs.sum(-1) if prior is None else (log_probs * prior.to(log_probs)).sum(-1)
    return -total.masked_fill(ignore, 0.0)


def smoothed_cross_entropy(
    nll: Tensor, smooth: Tensor, label_smoothing: float, classes: int, uniform: bool = True
) -> Tensor:
    """Return the cross-entropy with the smoothed target, for each token or for a sum over tokens.

    The result is linear in `nll` and `smooth`. fairseq's `label_smoothed_cross_entropy` sums over tokens first; if you
    pass sums, the result equals fairseq's to the last bit.

    Args:
        nll: from `negative_log_likelihood`, or a weighted sum of it over tokens.
        smooth: from `smoothing_term`, or the same weighted sum.
        label_smoothing: `alpha`, in [0, 1).
        classes: K.
        uniform: whether `smooth` was computed with the uniform prior.
    """
    if not uniform:
        return (1.0 - label_smoothing) * nll + label_smoothing * smooth
    # `smooth` includes the label, hence the second subtraction.
    other = label_smoothing / (classes - 1)
    return (1.0 - label_smoothing - other) * nll + other * smooth


def count_types(targets: Any, ids: Any, classes: int, padding: int) -> Tensor:
    """Count how often each type occurs in sentences, `[K]` int64, without padding.

    Args:
        targets: a sequence of `[length]` integer tensors, one per sentence.
        ids: the indices of the sentences to count: a range, a list or an array.
        classes: K.
        padding: id of the padding symbol.
    """
    counts = torch.zeros(classes, dtype=torch.int64)
    for start in range(0, len(ids), 10_000):
        block = torch.cat([targets[i] for i in ids[start : start + 10_000]])
        counts += torch.bincount(block.long(), minlength=classes)
    counts[padding] = 0
    return counts


def unigram_prior(counts: Tensor) -> Tensor:
    """Return the relative frequencies, `[K]` float32, of counts `[K]`.

    Raises:
        ValueError: if all counts are 0.
    """
    total = counts.sum()
    if total <= 0:
        raise ValueError("the unigram prior needs at least one counted token")
    return (counts.double() / total).to(torch.float32)
