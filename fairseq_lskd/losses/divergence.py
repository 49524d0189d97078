"""Word-level distillation: the divergence between teacher and student at each target token.

Kim & Rush (EMNLP 2016), section 3.1, with the temperature of Hinton et al. (2015): a true divergence,
0 where student and teacher agree, not the cross-entropy that differs from it by the teacher's entropy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def temper(log_probs: Tensor, temperature: float) -> Tensor:
    """The same distributions at a temperature: `softmax(log p / T)`, which is `softmax(logits / T)`.

    Args:
        log_probs: `[..., K]`, normalised, float32 or wider.
        temperature: T > 0; at 1 the argument itself comes back.
    """
    return log_probs if temperature == 1 else F.log_softmax(log_probs / temperature, dim=-1)


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


class _ForwardKL(torch.autograd.Function):
    """`forward_kl` with its derivative, `-p_T`, written out: half the passes over `[..., K]` of what autograd makes."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, ignore: Tensor) -> Tensor:
        probs = teacher.exp()
        terms = (teacher - student).mul_(probs)
        divergence = terms.sum(-1)
        if divergence.isnan().any():  # 0 * inf: a class to which the teacher gives no probability
            divergence = terms.masked_fill_(probs == 0, 0.0).sum(-1)
        ctx.save_for_backward(probs, ignore)
        return divergence.masked_fill(ignore, 0.0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        probs, ignore = ctx.saved_tensors
        return probs * grad.masked_fill(ignore, 0.0).neg().unsqueeze(-1), None, None


def forward_kl(student: Tensor, teacher: Tensor, ignore: Tensor) -> Tensor:
    """`KL(teacher || student)` at each token, in nats; 0 at ignored tokens.

    Args:
        student, teacher: `[..., K]`, log-probabilities at the same temperature. A class to which the
            teacher gives no probability at all (`-inf`) adds nothing. The teacher gets no gradient.
        ignore: `[...]`, bool.

    Returns:
        `[...]`. Shen et al. (ICLR 2021), equations (3)-(4): with respect to the student it has the
        gradient of the cross-entropy with the teacher's distribution as target.
    """
    return _ForwardKL.apply(student, teacher.detach(), ignore)
