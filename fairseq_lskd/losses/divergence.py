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
from typing import Any

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

    def value_and_slope(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """The divergence at each token and its derivative with respect to `student`, entry by entry.

        Args:
            student, teacher: `[..., K]`, log-probabilities at the same temperature. `-inf` is no
                probability at all: where only the student has some, `reverse_kl` is beyond all bounds.

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
reverse_kl = Divergence("reverse_kl", _reverse_kl)

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
    if not 0 < beta < 1:
        raise ValueError(f"beta is {beta}, expected a number between 0 and 1")

    def formula(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.logaddexp(teacher + math.log(beta), student + math.log1p(-beta))
        slope = (student - mean).mul_(student.exp()).mul_(1 - beta)
        return beta * ((teacher - mean).mul_(teacher.exp())).sum(-1) + slope.sum(-1), slope

    return Divergence("jensen_shannon", formula)


#: By name, as functions of beta, which only some of them have. Both forms of the loss, --kd-divergence and the tests
#: know what is in here.
DIVERGENCES: dict[str, Callable[[float], Divergence]] = {
    "forward_kl": lambda beta: forward_kl,
    "reverse_kl": lambda beta: reverse_kl,
    "jensen_shannon": jensen_shannon,
    "total_variation": lambda beta: total_variation,
}


def divergence(name: str, beta: float = 0.5) -> Divergence:
    """One of `DIVERGENCES` by its name; `beta` is that of `jensen_shannon`.

    Raises:
        ValueError: if there is none of that name, or its `beta` is out of range.
    """
    if name not in DIVERGENCES:
        raise ValueError(f"no divergence {name!r}; there are {', '.join(DIVERGENCES)}")
    return DIVERGENCES[name](beta)
