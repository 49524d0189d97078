"""The losses once more, from their formulas: loops and plain numbers in float64, slow and easy to check by eye.

Nothing here calls the package, nor torch's own losses. Gradients are written out, not left to autograd.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Row = Sequence[float]


def softmax(logits: Row, temperature: float = 1.0) -> list[float]:
    """exp(z_k / T) / sum_j exp(z_j / T)."""
    top = max(logits)
    powers = [math.exp((z - top) / temperature) for z in logits]
    return [power / math.fsum(powers) for power in powers]


def log_softmax(logits: Row, temperature: float = 1.0) -> list[float]:
    """The logarithm of `softmax`, also where that is too small for a number."""
    top = max(logits)
    normaliser = math.log(math.fsum(math.exp((z - top) / temperature) for z in logits))
    return [(z - top) / temperature - normaliser for z in logits]


def smoothed_target(label: int, classes: int, alpha: float, prior: Row | None = None) -> list[float]:
    """Equation (1): 1 - alpha on the label, alpha / (K - 1) elsewhere; or (1 - alpha) onehot + alpha u."""
    if prior is not None:
        return [(1 - alpha) * (k == label) + alpha * prior[k] for k in range(classes)]
    return [1 - alpha if k == label else alpha / (classes - 1) for k in range(classes)]


def cross_entropy(target: Row, log_probs: Row) -> float:
    """-sum_k q_k log p_k, a class without mass adding nothing."""
    return -math.fsum(q * log_p for q, log_p in zip(target, log_probs, strict=True) if q > 0)


def divergence(teacher: Row, student_log_probs: Row) -> float:
    """sum_k p_T log(p_T / p_S)."""
    return math.fsum(t * (math.log(t) - s) for t, s in zip(teacher, student_log_probs, strict=True) if t > 0)


class Loss(NamedTuple):
    """A sum over tokens, its parts, and its derivative with respect to the logits."""

    loss: float
    nll: float
    kd: float
    gradient: Tensor  #: as the logits, float64


def distillation(
    logits: Tensor,
    target: Tensor,
    counts: Tensor,
    *,
    alpha: float = 0.0,
    prior: Row | None = None,
    teachers: Sequence[Tensor] = (),
    kd_weight: float = 0.0,
    temperature: float = 1.0,
    weights: Tensor | None = None,
) -> Loss:
    """sum_n w_n [(1 - lambda) H(q_n, p_n) + lambda T^2 KL(mean teacher || student)] over counted tokens n.

    The derivative with respect to z is w [(1 - lambda) (p - q) + lambda T (p^(T) - teacher)].

    Args:
        logits: `[..., K]`; target: `[...]`; counts: `[...]` bool; weights: `[...]`; teachers: logits.
    """
    classes = logits.size(-1)
    rows = logits.detach().double().reshape(-1, classes).tolist()
    members = [teacher.detach().double().reshape(-1, classes).tolist() for teacher in teachers]
    shape, labels, counted = target.shape, target.flatten().tolist(), counts.flatten().tolist()
    each = [1.0] * len(rows) if weights is None else weights.double().expand(shape).flatten().tolist()
    loss, nll, kd = [], [], []
    gradient = torch.zeros(len(rows), classes, dtype=torch.float64)
    for n, row in enumerate(rows):
        if not counted[n]:
            continue
        p, log_p = softmax(row), log_softmax(row)
        q = smoothed_target(labels[n], classes, alpha, prior)
        value = (1 - kd_weight) * cross_entropy(q, log_p)
        slope = [(1 - kd_weight) * (ours - wanted) for ours, wanted in zip(p, q, strict=True)]
        nll.append(-log_p[labels[n]])
        if members:
            soft = [softmax(member[n], temperature) for member in members]
            mean = [math.fsum(column) / len(soft) for column in zip(*soft, strict=True)]
            part = temperature**2 * divergence(mean, log_softmax(row, temperature))
            kd.append(each[n] * part)
            value += kd_weight * part
            for k, (ours, theirs) in enumerate(zip(softmax(row, temperature), mean, strict=True)):
                slope[k] += kd_weight * temperature * (ours - theirs)
        loss.append(each[n] * value)
        gradient[n] = each[n] * torch.tensor(slope, dtype=torch.float64)
    return Loss(math.fsum(loss), math.fsum(nll), math.fsum(kd), gradient.view(logits.shape))


class Predictions(NamedTuple):
    """What calibration measures, of counted tokens."""

    tokens: int
    correct: int
    entropy: float  #: nats, summed
    ece: float


def predictions(logits: Tensor, target: Tensor, counts: Tensor, bins: int = 15) -> Predictions:
    """Guo et al. (2017), equation (3): sum_b |B_b| / n * |accuracy(B_b) - confidence(B_b)|, bins ((b - 1)/M, b/M]."""
    members: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    entropy, correct, tokens = [], 0, 0
    rows = logits.detach().double().reshape(-1, logits.size(-1)).tolist()
    for row, label, counted in zip(rows, target.flatten().tolist(), counts.flatten().tolist(), strict=True):
        if not counted:
            continue
        p = softmax(row)
        guess = max(range(len(p)), key=p.__getitem__)
        index = next(b for b in range(bins) if p[guess] <= (b + 1) / bins or b == bins - 1)
        members[index].append((p[guess], guess == label))
        entropy.append(-math.fsum(x * math.log(x) for x in p if x > 0))
        correct += guess == label
        tokens += 1
    gaps = []
    for bin_ in filter(None, members):
        accuracy = sum(right for _, right in bin_) / len(bin_)
        confidence = math.fsum(sure for sure, _ in bin_) / len(bin_)
        gaps.append(len(bin_) / tokens * abs(accuracy - confidence))
    return Predictions(tokens, correct, math.fsum(entropy), math.fsum(gaps))
