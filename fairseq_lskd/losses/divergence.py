"""Divergences between the teacher's and the student's distribution at each target token.

They are the word-level distillation of Kim & Rush (EMNLP 2016), section 3.1, with the temperature of Hinton et al.
(2015). All are 0 if student and teacher agree; the cross-entropy, in contrast, includes the teacher's entropy.

Each divergence also returns its *slope*: the derivative with respect to the student's log-probabilities, taken as
independent variables. Because `log q = s - logsumexp(s)`, the derivative with respect to the logits `s` is
`slope - q * sum(slope)`. The fused loss uses this formula for every divergence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: Above this temperature, distributions are float64. Divergences of nearly uniform distributions are small differences
#: of logarithms near log K, and T^2 multiplies their rounding errors, to about 1e-6 T^2 nats in float32.
WIDE = 16.0


def temper(log_probs: Tensor, temperature: float) -> Tensor:
    """Return the log-probabilities of `softmax(log p / T)`, which equals `softmax(logits / T)`.

    Args:
        log_probs: `[..., K]`, normalised, float32 or wider.
        temperature: T > 0. At 1, `log_probs` itself is returned.

    Returns:
        `[..., K]`, float64 if T is above `WIDE`, else in the dtype of `log_probs`.
    """
    if temperature == 1:
        return log_probs
    wide = torch.float64 if temperature > WIDE else None
    return F.log_softmax(log_probs / temperature, dim=-1, dtype=wide)


def mix_log_probs(log_probs: Iterable[Tensor]) -> Tensor:
    """Return the logarithm of the mean of several distributions, `[..., K]` each. The iterable may be lazy.

    Raises:
        ValueError: if there is none.
    """
    mixed, count = None, 0
    for part in log_probs:
        mixed = part if mixed is None else torch.logaddexp(mixed, part)
        count += 1
    if mixed is None:
        raise ValueError("the mean of no distribution")
    return mixed if count == 1 else mixed - math.log(count)


@dataclass(frozen=True)
class Divergence:
    """A divergence of two categorical distributions, in nats, with its derivative."""

    name: str
    #: (student, teacher), log-probabilities `[..., K]` without `-inf` -> value `[...]`, slope `[..., K]`
    formula: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    #: Whether the divergence is infinite if the student has probability where the teacher has none.
    unbounded: bool = False
    #: Peak number of `[tokens, K]` tensors while the fused loss computes the divergence; it determines the chunk size.
    buffers: int = 7

    def value_and_slope(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Return the divergence at each token, `[...]`, and its derivative with respect to `student`, `[..., K]`.

        Args:
            student: `[..., K]`, log-probabilities at the same temperature. `-inf` is probability 0. An `unbounded`
                divergence is then a huge number if only the teacher's probability is 0.
            teacher: `[..., K]`, likewise.
        """
        lowest = torch.finfo(student.dtype).min  # 0 * lowest is 0, but 0 * inf is NaN
        return self.formula(student.clamp_min(lowest), teacher.clamp_min(lowest))

    def __call__(self, student: Tensor, teacher: Tensor, ignore: Tensor) -> Tensor:
        """Return the divergence at each token, `[...]`. The teacher gets no gradient.

        Args:
            student: `[..., K]`, as for `value_and_slope`.
            teacher: `[..., K]`, as for `value_and_slope`.
            ignore: `[...]` bool, true at tokens where the divergence and its gradient are set to 0.
        """
        return _Divergence.apply(student, teacher.detach(), ignore, self)


class _Divergence(torch.autograd.Function):
    """Use the explicit derivative, which takes half the passes over `[..., K]` that autograd takes."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, ignore: Tensor, divergence: Divergence) -> Tensor:
        value, slope = divergence.value_and_slope(student, teacher)
        ctx.save_for_backward(slope, ignore)
        return value.masked_fill(ignore, 0.0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        slope, ignore = ctx.saved_tensors
        # Masked after the product, because the slope at an ignored token may be infinite, and 0 * inf is NaN.
        return (slope * grad.unsqueeze(-1)).masked_fill_(ignore.unsqueeze(-1), 0.0), None, None, None


def _forward_kl(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    probs = teacher.exp()
    return ((teacher - student).mul_(probs)).sum(-1), probs.neg_()


def _reverse_kl(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    probs = student.exp()
    terms = (student - teacher).mul_(probs)
    return terms.sum(-1), terms.add_(probs)


def _total_variation(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    probs = student.exp()
    gap = probs - teacher.exp()
    return 0.5 * gap.abs().sum(-1), gap.sign_().mul_(probs).mul_(0.5)


#: `sum_k p_T(k) log(p_T(k) / p_S(k))` (Shen et al., ICLR 2021, equations 3-4). Its gradient with respect to the student
#: is that of the cross-entropy with the teacher's distribution as target.
forward_kl = Divergence("forward_kl", _forward_kl)

#: `sum_k p_S(k) log(p_S(k) / p_T(k))` at each token (Gu et al., ICLR 2024, MiniLLM, equation 1). The student may give
#: low probability to classes that it cannot model.
reverse_kl = Divergence("reverse_kl", _reverse_kl, unbounded=True)

#: `1/2 sum_k |p_T(k) - p_S(k)|` (Wen et al., ACL 2023, *f-Divergence Minimization for Sequence-Level Knowledge
#: Distillation*, section 3.1). The derivative of a term with equal probabilities is taken as 0.
total_variation = Divergence("total_variation", _total_variation)


def jensen_shannon(beta: float = 0.5) -> Divergence:
    """Return the generalised Jensen-Shannon divergence (Agarwal et al., ICLR 2024, GKD, equation 1).

    `beta KL(p_T || m) + (1 - beta) KL(p_S || m)` with `m = beta p_T + (1 - beta) p_S`. Divided by beta (1 - beta),
    it tends to the forward KL as beta tends to 0, and to the reverse KL as beta tends to 1.

    Raises:
        ValueError: unless 0 < beta < 1. At 0 and 1 the divergence is 0 for all distributions.
    """
    _check("beta", beta)

    def formula(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.logaddexp(teacher + math.log(beta), student + math.log1p(-beta))
        slope = (student - mean).mul_(student.exp()).mul_(1 - beta)
        return beta * ((teacher - mean).mul_(teacher.exp())).sum(-1) + slope.sum(-1), slope

    return Divergence("jensen_shannon", formula)


def _symmetric_kl(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    p, q = teacher.exp(), student.exp()
    gap = student - teacher
    value = ((q - p).mul_(gap)).sum(-1)
    return 0.5 * value, gap.add_(1).mul_(q).sub_(p).mul_(0.5)


#: `1/2 KL(p_T || p_S) + 1/2 KL(p_S || p_T)`: half of Jeffreys' divergence (Jeffreys 1946; Kullback & Leibler 1951).
symmetric_kl = Divergence("symmetric_kl", _symmetric_kl, unbounded=True, buffers=8)


def skewed_forward_kl(skew: float = 0.1) -> Divergence:
    """Return the skewed forward KL (Ko et al., ICML 2024, DistiLLM, section 3.1).

    `KL(p_T || m)` with `m = skew p_T + (1 - skew) p_S`. It is at most `-log(skew)`, and with skew 0 the forward KL.

    Raises:
        ValueError: unless 0 < skew < 1.
    """
    _check("skew", skew)

    def formula(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.logaddexp(teacher + math.log(skew), student + math.log1p(-skew))
        p = teacher.exp()
        value = ((teacher - mean).mul_(p)).sum(-1)
        # The student's share of the mixture, at most 1.
        share = mean.neg_().add_(student).exp_().mul_(1 - skew)
        return value, share.mul_(p).neg_()

    return Divergence("skewed_forward_kl", formula)


def skewed_reverse_kl(skew: float = 0.1) -> Divergence:
    """Return the skewed reverse KL (Ko et al., ICML 2024, DistiLLM, section 3.1).

    `KL(p_S || m)` with `m = (1 - skew) p_T + skew p_S`. It is at most `-log(skew)`, and with skew 0 the reverse KL.

    Raises:
        ValueError: unless 0 < skew < 1.
    """
    _check("skew", skew)

    def formula(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.logaddexp(teacher + math.log1p(-skew), student + math.log(skew))
        gap = mean.neg_().add_(student)  # log(p_S / m), at most -log(skew)
        q = student.exp()
        value = (gap * q).sum(-1)
        slope = gap.add_(1).sub_(gap.sub(1).exp_(), alpha=skew)
        return value, slope.mul_(q)

    return Divergence("skewed_reverse_kl", formula)


def adaptive_kl(head: float = 0.5) -> Divergence:
    """Return the adaptive KL (Wu et al., COLING 2025, *Rethinking Kullback-Leibler Divergence in Knowledge Distillation
    for Large Language Models*).

    `w KL(p_T || p_S) + (1 - w) KL(p_S || p_T)`, where `w` is the head's share of `sum_k |p_T(k) - p_S(k)|`. A class is
    in the head if the classes with a higher teacher probability sum to less than `head`. `w` has no gradient, as in
    Zhang et al. (EMNLP 2024, DSKD): the slope is that of the two KLs with `w` held fixed.

    Raises:
        ValueError: unless 0 < head < 1. At 0 and 1 the divergence is one of the two KLs.
    """
    _check("head", head)

    def formula(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        p = teacher.exp()
        least = _least_of_head(p, head)
        q = student.exp()
        gap = (p - q).abs_()
        total = gap.sum(-1)
        of_head = gap.masked_fill_(p < least.unsqueeze(-1), 0.0).sum(-1)
        weight = torch.where(total == 0, 0.5, of_head / total)  # if both agree, any weight gives 0
        log_ratio = torch.sub(student, teacher, out=gap)
        value = (1 - weight) * (q * log_ratio).sum(-1) - weight * (p * log_ratio).sum(-1)
        slope = log_ratio.add_(1).mul_(q).mul_((1 - weight).unsqueeze(-1))
        return value, slope.sub_(p.mul_(weight.unsqueeze(-1)))

    return Divergence("adaptive_kl", formula, unbounded=True, buffers=11)


def _least_of_head(probs: Tensor, head: float) -> Tensor:
    """Return the smallest probability in the head, `[...]`."""
    ranked = probs.sort(dim=-1, descending=True).values
    before = ranked.cumsum(-1).sub_(ranked)
    return ranked.masked_fill_(before >= head, torch.inf).amin(-1)


def alpha_divergence(alpha: float = 0.5) -> Divergence:
    """Return the alpha-divergence (Cichocki & Amari 2010, *Families of Alpha- Beta- and Gamma-Divergences*).

    Wang et al. (ICML 2021, AlphaNet) use it for distillation.

    `(1 - sum_k p_T(k)^alpha p_S(k)^(1 - alpha)) / (alpha (1 - alpha))`. It tends to the forward KL as alpha tends to 1,
    and to the reverse KL as alpha tends to 0. At 1/2 it is symmetric: 4 times the squared Hellinger distance.

    Raises:
        ValueError: unless 0 < alpha < 1. With other values the divergence is infinite if one probability is 0.
    """
    _check("alpha", alpha)

    def formula(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        both = (alpha * teacher).add_(student, alpha=1 - alpha).exp_()
        # 1 is written as a sum over classes of both distributions, so every term is at least 0 and nothing cancels.
        terms = teacher.exp().mul_(alpha).add_(student.exp(), alpha=1 - alpha).sub_(both)
        return terms.sum(-1) / (alpha * (1 - alpha)), both.mul_(-1 / alpha)

    return Divergence("alpha_divergence", formula)


def _check(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value}, expected a number between 0 and 1")


class Parameters(NamedTuple):
    """The parameters of divergences. Each divergence uses at most one."""

    beta: float = 0.5  #: for jensen_shannon: the teacher's share of the mixture
    skew: float = 0.1  #: for skewed_forward_kl (teacher's share of the mixture) and skewed_reverse_kl (student's share)
    head: float = 0.5  #: for adaptive_kl: the teacher's probability of the head
    alpha: float = 0.5  #: for alpha_divergence


#: Functions from `Parameters` to a divergence, by name. --kd-divergence offers these names.
DIVERGENCES: dict[str, Callable[[Parameters], Divergence]] = {
    "forward_kl": lambda p: forward_kl,
    "reverse_kl": lambda p: reverse_kl,
    "jensen_shannon": lambda p: jensen_shannon(p.beta),
    "total_variation": lambda p: total_variation,
    "symmetric_kl": lambda p: symmetric_kl,
    "skewed_forward_kl": lambda p: skewed_forward_kl(p.skew),
    "skewed_reverse_kl": lambda p: skewed_reverse_kl(p.skew),
    "adaptive_kl": lambda p: adaptive_kl(p.head),
    "alpha_divergence": lambda p: alpha_divergence(p.alpha),
}


def divergence(name: str, *args: float, **parameters: float) -> Divergence:
    """Return the divergence of `DIVERGENCES` with this name. Further arguments are those of `Parameters`, beta first.

    Raises:
        ValueError: if the name is unknown, or a parameter is out of range.
    """
    if name not in DIVERGENCES:
        raise ValueError(f"no divergence {name!r}; expected one of {', '.join(DIVERGENCES)}")
    return DIVERGENCES[name](Parameters(*args, **parameters))
