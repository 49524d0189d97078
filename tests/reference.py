"""Reference implementations of the losses from their formulas: plain loops in float64, slow and easy to check by eye.

They call neither the package nor torch's losses. Gradients are formulas or finite differences, without autograd.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
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
    """The logarithm of `softmax`, also if `softmax` underflows."""
    top = max(logits)
    normaliser = math.log(math.fsum(math.exp((z - top) / temperature) for z in logits))
    return [(z - top) / temperature - normaliser for z in logits]


def smoothed_target(label: int, classes: int, alpha: float, prior: Row | None = None) -> list[float]:
    """Equation (1): 1 - alpha on the label, alpha / (K - 1) elsewhere; or (1 - alpha) onehot + alpha u."""
    if prior is not None:
        return [(1 - alpha) * (k == label) + alpha * prior[k] for k in range(classes)]
    return [1 - alpha if k == label else alpha / (classes - 1) for k in range(classes)]


def cross_entropy(target: Row, log_probs: Row) -> float:
    """-sum_k q_k log p_k; classes with q_k = 0 add nothing."""
    return -math.fsum(q * log_p for q, log_p in zip(target, log_probs, strict=True) if q > 0)


def forward_kl(log_p: Row, log_q: Row) -> float:
    """sum_k p log(p / q); classes with p = 0 add nothing."""
    return math.fsum(math.exp(t) * (t - s) for t, s in zip(log_p, log_q, strict=True) if t > -math.inf)


class Loss(NamedTuple):
    """A sum over tokens, its terms, and its derivative with respect to the logits."""

    loss: float
    nll: float
    kd: float
    gradient: Tensor  #: float64, in the shape of the logits


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
            log_mean = [math.log(t) if t > 0 else -math.inf for t in mean]
            part = temperature**2 * forward_kl(log_mean, log_softmax(row, temperature))
            kd.append(each[n] * part)
            value += kd_weight * part
            for k, (ours, theirs) in enumerate(zip(softmax(row, temperature), mean, strict=True)):
                slope[k] += kd_weight * temperature * (ours - theirs)
        loss.append(each[n] * value)
        gradient[n] = each[n] * torch.tensor(slope, dtype=torch.float64)
    return Loss(math.fsum(loss), math.fsum(nll), math.fsum(kd), gradient.view(logits.shape))


class Predictions(NamedTuple):
    """Statistics of predictions at counted tokens."""

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


# Other divergences, a top k, and the ranking loss.


def log_sum(log_values: Row) -> float:
    """The logarithm of a sum of exponentials, also if they underflow."""
    top = max(log_values, default=-math.inf)
    return top if top == -math.inf else top + math.log(math.fsum(math.exp(value - top) for value in log_values))


def reverse_kl(log_p: Row, log_q: Row) -> float:
    """sum_k q log(q / p)."""
    return forward_kl(log_q, log_p)


def jensen_shannon(log_p: Row, log_q: Row, beta: float) -> float:
    """beta KL(p || m) + (1 - beta) KL(q || m), where m = beta p + (1 - beta) q."""
    log_m = [log_sum([t + math.log(beta), s + math.log(1 - beta)]) for t, s in zip(log_p, log_q, strict=True)]
    return beta * forward_kl(log_p, log_m) + (1 - beta) * forward_kl(log_q, log_m)


def total_variation(log_p: Row, log_q: Row) -> float:
    """1/2 sum_k |p - q|."""
    return math.fsum(abs(math.exp(t) - math.exp(s)) for t, s in zip(log_p, log_q, strict=True)) / 2


def symmetric_kl(log_p: Row, log_q: Row) -> float:
    """1/2 sum_k (p - q) (log p - log q)."""
    return (forward_kl(log_p, log_q) + forward_kl(log_q, log_p)) / 2


def skewed(log_p: Row, log_q: Row, skew: float) -> float:
    """KL(p || skew p + (1 - skew) q); classes with p = 0 add nothing."""
    log_m = [log_sum([t + math.log(skew), s + math.log(1 - skew)]) for t, s in zip(log_p, log_q, strict=True)]
    return forward_kl(log_p, log_m)


def adaptive_weight(log_p: Row, log_q: Row, head: float) -> float:
    """The share of sum_k |p - q| at the classes k with sum_j [p_j > p_k] p_j < head; 1/2 if the sum is 0."""
    p, q = ([math.exp(value) for value in row] for row in (log_p, log_q))
    gaps = [abs(t - s) for t, s in zip(p, q, strict=True)]
    of_head = [gap for gap, t in zip(gaps, p, strict=True) if math.fsum(u for u in p if u > t) < head]
    return math.fsum(of_head) / total if (total := math.fsum(gaps)) else 0.5


def adaptive_kl(log_p: Row, log_q: Row, weight: float) -> float:
    """w KL(p || q) + (1 - w) KL(q || p)."""
    back = forward_kl(log_q, log_p) if weight < 1 else 0.0
    return weight * forward_kl(log_p, log_q) + (1 - weight) * back


def alpha_divergence(log_p: Row, log_q: Row, alpha: float) -> float:
    """(1 - sum_k p^alpha q^(1 - alpha)) / (alpha (1 - alpha))."""
    both = math.fsum(math.exp(alpha * t + (1 - alpha) * s) for t, s in zip(log_p, log_q, strict=True))
    return (1 - both) / (alpha * (1 - alpha))


def best(values: Row, k: int) -> list[int]:
    """The k classes with the highest values, the highest first."""
    return sorted(range(len(values)), key=lambda i: -values[i])[:k]


def coarsened(log_p: Row, ids: Sequence[int]) -> list[float]:
    """The log-probabilities of these classes, and of all others as one."""
    return [log_p[i] for i in ids] + [log_sum([value for i, value in enumerate(log_p) if i not in ids])]


def ranking(log_p: Row, q: Row, k: int) -> float:
    """The ranking loss of TIE-KD, section 4.1.

    sum_i max(0, q_i - q_1) + sum_ij max(0, q_j - q_i) over i in the teacher's and j in the student's top k with
    p_i > p_j.
    """
    theirs, ours = best(log_p, k), best(q, k)
    first = math.fsum(max(0.0, q[i] - q[theirs[0]]) for i in theirs)
    return first + math.fsum(max(0.0, q[j] - q[i]) for i in theirs for j in ours if log_p[i] > log_p[j])


#: Divergences that are infinite if the student has probability where the teacher has none.
UNBOUNDED = ("reverse_kl", "symmetric_kl", "adaptive_kl")


@dataclass(frozen=True)
class Comparison:
    """The teacher's term of the loss at a token."""

    name: str = "forward_kl"
    parameter: float = 0.5  #: for divergences that have a parameter
    temperature: float = 1.0
    k: int | None = None
    rest: str = "class"
    ranking: int = 0
    weight: float | None = None  #: the weight of adaptive_kl, if it is held fixed

    def divergence(self, log_p: Row, log_q: Row) -> float:
        """The divergence; `log_p` is the teacher."""
        if self.name == "jensen_shannon":
            return jensen_shannon(log_p, log_q, self.parameter)
        if self.name == "skewed_forward_kl":
            return skewed(log_p, log_q, self.parameter)
        if self.name == "skewed_reverse_kl":
            return skewed(log_q, log_p, self.parameter)
        if self.name == "alpha_divergence":
            return alpha_divergence(log_p, log_q, self.parameter)
        if self.name == "adaptive_kl":
            weight = adaptive_weight(log_p, log_q, self.parameter) if self.weight is None else self.weight
            return adaptive_kl(log_p, log_q, weight)
        by_name = {"forward_kl": forward_kl, "reverse_kl": reverse_kl, "total_variation": total_variation}
        return (by_name | {"symmetric_kl": symmetric_kl})[self.name](log_p, log_q)

    def at(self, logits: Row, log_p: Row) -> Comparison:
        """The function to differentiate at a student's logits, in which the weight of adaptive_kl is a constant."""
        if self.name != "adaptive_kl":
            return self
        theirs, ours = self._compared(log_p, log_softmax(logits, self.temperature))
        return replace(self, weight=adaptive_weight(theirs, ours, self.parameter))

    def __call__(self, logits: Row, log_p: Row) -> float:
        """T^2 (D + R) for a student's logits and a teacher's log-probabilities at the temperature T."""
        log_q = log_softmax(logits, self.temperature)
        value = self.divergence(*self._compared(log_p, log_q))
        if self.ranking:
            value += ranking(log_p, [math.exp(value) for value in log_q], self.ranking)
        return self.temperature**2 * value

    def _compared(self, log_p: Row, log_q: Row) -> tuple[Row, Row]:
        if self.k is None:
            return log_p, log_q
        ids = best(log_p, self.k)
        theirs, ours = coarsened(log_p, ids), coarsened(log_q, ids)
        if self.rest == "renormalise":
            theirs = [*log_softmax(theirs[:-1]), -math.inf]
        return theirs, ours


def slope(function: Callable[[list[float]], float], at: Row, step: float = 1e-4) -> list[float]:
    """The derivatives of a smooth function by finite differences, with an error of order step^4."""
    found = []
    for i in range(len(at)):
        far, near, fore, beyond = (
            function([x + shift * step * (i == j) for j, x in enumerate(at)]) for shift in (-2, -1, 1, 2)
        )
        found.append((far - 8 * near + 8 * fore - beyond) / (12 * step))
    return found


def mean_at_temperature(teachers: Sequence[Tensor], temperature: float) -> list[list[float]]:
    """Log of the mean of teachers' distributions at a temperature, from logits `[N, K]`; one row per token."""
    members = [[log_softmax(row, temperature) for row in teacher.double().tolist()] for teacher in teachers]
    return [
        [log_sum(column) - math.log(len(members)) for column in zip(*rows, strict=True)]
        for rows in zip(*members, strict=True)
    ]


class Weighted(NamedTuple):
    """A weighted sum over tokens, its terms at each token, and its derivative with respect to the logits."""

    loss: float
    nll: list[float]
    kd: list[float]  #: 0 at tokens with teacher weight 0
    gradient: Tensor  #: [N, K] float64


def weighted(
    logits: Tensor,
    target: Tensor,
    label_weights: Row,
    *,
    alpha: float = 0.0,
    prior: Row | None = None,
    log_teacher: Sequence[Row] = (),
    teacher_weights: Row = (),
    how: Comparison | None = None,
) -> Weighted:
    """sum_n a_n H(q_n, p_n) + b_n T^2 (D + R)_n, with finite differences for the derivative of the teacher's term.

    Args:
        logits: `[N, K]`; target: `[N]`; log_teacher: N rows, at the temperature.
    """
    nll, kd, loss, gradient = [], [], [], torch.zeros(logits.shape, dtype=torch.float64)
    for n, row in enumerate(logits.detach().double().tolist()):
        p, log_p, label = softmax(row), log_softmax(row), int(target[n])
        wanted = smoothed_target(label, len(row), alpha, prior)
        nll.append(-log_p[label])
        loss.append(label_weights[n] * cross_entropy(wanted, log_p))
        slopes = [label_weights[n] * (ours - theirs) for ours, theirs in zip(p, wanted, strict=True)]
        b = teacher_weights[n] if len(log_teacher) else 0.0
        kd.append(0.0)
        if b and how is not None:
            kd[n] = how(row, log_teacher[n])
            loss.append(b * kd[n])
            fixed = how.at(row, log_teacher[n])
            changes = slope(lambda z, n=n, fixed=fixed: fixed(z, log_teacher[n]), row)
            slopes = [mine + b * change for mine, change in zip(slopes, changes, strict=True)]
        gradient[n] = torch.tensor(slopes, dtype=torch.float64)
    return Weighted(math.fsum(loss), nll, kd, gradient)


# Selective distillation.


def hardest(nll: Row, share: float, compared_with: Row | None = None) -> list[bool]:
    """Whether each value is at least the smallest of the highest `share` of the values (or of other values)."""
    others = sorted(nll if compared_with is None else compared_with, reverse=True)
    least = others[math.ceil(Fraction(str(share)) * len(others)) - 1] if others else math.inf
    return [value >= least for value in nll]
