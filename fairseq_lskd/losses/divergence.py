"""Word-level distillation: the divergence between teacher and student at each target token.

Kim & Rush (EMNLP 2016), section 3.1, with the temperature of Hinton et al. (2015): true divergences,
0 where student and teacher agree, not the cross-entropy that differs from one by the teacher's entropy.

Each divergence knows its *slope*, the derivative with respect to the student's log-probabilities as if
they were free. Through `log q = s - logsumexp(s)` the derivative with respect to logits `s` follows,
`slope - q * sum(slope)`, which is all that the fused loss needs to know of an objective.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: Distributions at a higher temperature are float64. Divergences of nearly uniform ones are small differences of
#: logarithms near log K, and T^2 multiplies their rounding errors: in float32 by some 1e-6 T^2 nats.
WIDE = 16.0


def temper(log_probs: Tensor, temperature: float) -> Tensor:
    """The same distributions at a temperature: `softmax(log p / T)`, which is `softmax(logits / T)`.

    Args:
        log_probs: `[..., K]`, normalised, float32 or wider.
        temperature: T > 0; at 1 the argument itself comes back.

    Returns:
        `[..., K]`, float64 if T is above `WIDE`, else of the argument's dtype.
    """
    if temperature == 1:
        return log_probs
    wide = torch.float64 if temperature > WIDE else None
    return F.log_softmax(log_probs / temperature, dim=-1, dtype=wide)


def mix_log_probs(log_probs: Iterable[Tensor]) -> Tensor:
    """Log of the mean of several distributions, one `[..., K]` tensor each, taken one at a time.

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
    """A divergence of two categorical distributions, in nats, with its derivative written out."""

    name: str
    #: (student, teacher), log-probabilities `[..., K]` without `-inf` -> value `[...]`, slope `[..., K]`
    formula: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    #: Whether it is infinite where the student has probability and the teacher has none.
    unbounded: bool = False
    #: `[tokens, K]` tensors that are alive at once while the fused loss computes it: the size of its chunks.
    buffers: int = 7

    def value_and_slope(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """The divergence at each token and its derivative with respect to `student`, entry by entry.

        Args:
            student, teacher: `[..., K]`, log-probabilities at the same temperature. `-inf` is no
                probability at all: where only the student has some, an `unbounded` one is beyond all bounds.

        Returns:
            `[...]` and `[..., K]`.
        """
        lowest = torch.finfo(student.dtype).min  # 0 * lowest is 0, where 0 * inf would be NaN
        return self.formula(student.clamp_min(lowest), teacher.clamp_min(lowest))

    def __call__(self, student: Tensor, teacher: Tensor, ignore: Tensor) -> Tensor:
        """The divergence at each token, `[...]`, 0 at ignored tokens; the teacher gets no gradient.

        Args:
            student, teacher: `[..., K]`, as for `value_and_slope`.
            ignore: `[...]`, bool.
        """
        return _Divergence.apply(student, teacher.detach(), ignore, self)


class _Divergence(torch.autograd.Function):
    """Half the passes over `[..., K]` of what autograd makes of the formulas."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, ignore: Tensor, divergence: Divergence) -> Tensor:
        value, slope = divergence.value_and_slope(student, teacher)
        ctx.save_for_backward(slope, ignore)
        return value.masked_fill(ignore, 0.0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        slope, ignore = ctx.saved_tensors
        # Masked itself: the slope at an ignored token may be anything, and 0 * inf is not 0.
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


#: `sum_k p_T(k) log(p_T(k) / p_S(k))`. Shen et al. (ICLR 2021), equations (3)-(4): with respect to the student
#: it has the gradient of the cross-entropy with the teacher's distribution as target.
forward_kl = Divergence("forward_kl", _forward_kl)

#: `sum_k p_S(k) log(p_S(k) / p_T(k))`: the student leaves out what it cannot model (Gu et al., MiniLLM, ICLR 2024,
#: equation 1, here at each token).
reverse_kl = Divergence("reverse_kl", _reverse_kl, unbounded=True)

#: `1/2 sum_k |p_T(k) - p_S(k)|` (Wen et al., ACL 2023, *f-Divergence Minimization for Sequence-Level Knowledge
#: Distillation*, section 3.1). Its derivative where both are equal is taken as 0.
total_variation = Divergence("total_variation", _total_variation)


def jensen_shannon(beta: float = 0.5) -> Divergence:
    """Generalised Jensen-Shannon divergence (Agarwal et al., ICLR 2024, GKD, equation 1).

    `beta KL(p_T || m) + (1 - beta) KL(p_S || m)` with `m = beta p_T + (1 - beta) p_S`. Divided by beta (1 - beta)
    it tends to the forward KL as beta tends to 0, to the reverse KL as it tends to 1.

    Raises:
        ValueError: unless 0 < beta < 1, since at both ends it is 0 whatever the distributions.
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


#: `1/2 KL(p_T || p_S) + 1/2 KL(p_S || p_T)`: half of Jeffreys' divergence (Jeffreys, 1946; Kullback & Leibler, 1951).
symmetric_kl = Divergence("symmetric_kl", _symmetric_kl, unbounded=True, buffers=8)


def skewed_forward_kl(skew: float = 0.1) -> Divergence:
    """Skewed forward KL (Ko et al., ICML 2024, DistiLLM, section 3.1).

    `KL(p_T || m)` with `m = skew p_T + (1 - skew) p_S`, never above `-log(skew)`. The skew 0 is the forward KL.

    Raises:
        ValueError: unless 0 < skew < 1.
    """
    _check("skew", skew)

    def formula(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.logaddexp(teacher + math.log(skew), student + math.log1p(-skew))
        p = teacher.exp()
        value = ((teacher - mean).mul_(p)).sum(-1)
        # The student's share of the mixture, which is at most 1.
        share = mean.neg_().add_(student).exp_().mul_(1 - skew)
        return value, share.mul_(p).neg_()

    return Divergence("skewed_forward_kl", formula)


def skewed_reverse_kl(skew: float = 0.1) -> Divergence:
    """Skewed reverse KL (Ko et al., ICML 2024, DistiLLM, section 3.1).

    `KL(p_S || m)` with `m = (1 - skew) p_T + skew p_S`, never above `-log(skew)`. The skew 0 is the reverse KL.

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
    """Adaptive KL (Wu et al., COLING 2025, *Rethinking Kullback-Leibler Divergence in Knowledge Distillation for Large
    Language Models*).

    `w KL(p_T || p_S) + (1 - w) KL(p_S || p_T)`, where `w` is the head's share of `sum_k |p_T(k) - p_S(k)|`. A class is
    in the head if the classes that the teacher finds more probable have less than `head` of its mass. `w` has no
    gradient, as in Zhang et al. (EMNLP 2024, DSKD): the slope is that of the two KLs with `w` held fixed.

    Raises:
        ValueError: unless 0 < head < 1, since at both ends it is one of the two KLs.
    """
    _check("head", head)

    def formula(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        p = teacher.exp()
        least = _least_of_head(p, head)
        q = student.exp()
        gap = (p - q).abs_()
        total = gap.sum(-1)
        of_head = gap.masked_fill_(p < least.unsqueeze(-1), 0.0).sum(-1)
        weight = torch.where(total == 0, 0.5, of_head / total)  # where both agree any weight will do
        log_ratio = torch.sub(student, teacher, out=gap)
        value = (1 - weight) * (q * log_ratio).sum(-1) - weight * (p * log_ratio).sum(-1)
        slope = log_ratio.add_(1).mul_(q).mul_((1 - weight).unsqueeze(-1))
        return value, slope.sub_(p.mul_(weight.unsqueeze(-1)))

    return Divergence("adaptive_kl", formula, unbounded=True, buffers=11)


def _least_of_head(probs: Tensor, head: float) -> Tensor:
    """`[...]`: the smallest probability in the head."""
    ranked = probs.sort(dim=-1, descending=True).values
    before = ranked.cumsum(-1).sub_(ranked)
    return ranked.masked_fill_(before >= head, torch.inf).amin(-1)


def alpha_divergence(alpha: float = 0.5) -> Divergence:
    """Alpha-divergence (Cichocki & Amari, 2010, *Families of Alpha- Beta- and Gamma-Divergences*).

    Wang et al. (ICML 2021, AlphaNet) distil with it.

    `(1 - sum_k p_T(k)^alpha p_S(k)^(1 - alpha)) / (alpha (1 - alpha))`. It tends to the forward KL as alpha tends to 1,
    to the reverse KL as it tends to 0. At 1/2 it is symmetric, 4 times the squared Hellinger distance.

    Raises:
        ValueError: unless 0 < alpha < 1: beyond, it is infinite where one side has no probability.
    """
    _check("alpha", alpha)

    def formula(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        both = (alpha * teacher).add_(student, alpha=1 - alpha).exp_()
        # 1 as the sum of both distributions: no class adds less than 0, and nothing cancels at the end.
        terms = teacher.exp().mul_(alpha).add_(student.exp(), alpha=1 - alpha).sub_(both)
        return terms.sum(-1) / (alpha * (1 - alpha)), both.mul_(-1 / alpha)

    return Divergence("alpha_divergence", formula)


def _check(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value}, expected a number between 0 and 1")


class Parameters(NamedTuple):
    """What divergences can be told; most of them have none of these, some have one."""

    beta: float = 0.5  #: of jensen_shannon, the teacher's share of the mixture
    skew: float = 0.1  #: of skewed_forward_kl and skewed_reverse_kl, how much of itself a side is compared with
    head: float = 0.5  #: of adaptive_kl, the teacher's mass that is the head
    alpha: float = 0.5  #: of alpha_divergence


#: By name, as functions of `Parameters`. Both forms of the loss, --kd-divergence and the tests know what is in here.
DIVERGENCES: dict[str, Callable[[Parameters], Divergence]] = {
    "forward_kl": lambda told: forward_kl,
    "reverse_kl": lambda told: reverse_kl,
    "jensen_shannon": lambda told: jensen_shannon(told.beta),
    "total_variation": lambda told: total_variation,
    "symmetric_kl": lambda told: symmetric_kl,
    "skewed_forward_kl": lambda told: skewed_forward_kl(told.skew),
    "skewed_reverse_kl": lambda told: skewed_reverse_kl(told.skew),
    "adaptive_kl": lambda told: adaptive_kl(told.head),
    "alpha_divergence": lambda told: alpha_divergence(told.alpha),
}


def divergence(name: str, *args: float, **parameters: float) -> Divergence:
    """One of `DIVERGENCES` by its name; further arguments are those of `Parameters`, beta first.

    Raises:
        ValueError: if there is none of that name, or a parameter of it is out of range.
    """
    if name not in DIVERGENCES:
        raise ValueError(f"no divergence {name!r}; there are {', '.join(DIVERGENCES)}")
    return DIVERGENCES[name](Parameters(*args, **parameters))
