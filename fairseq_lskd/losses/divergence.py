"""Word-level distillation: the divergence between teacher and student at each target token.

Kim & Rush (EMNLP 2016), section 3.1, with the temperature of Hinton et al. (2015): a true divergence,
0 where student and teacher agree, not the cross-entropy that differs from it by the teacher's entropy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

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


def forward_kl(student: Tensor, teacher: Tensor, ignore: Tensor) -> Tensor:
    """`KL(teacher || student)` at each token, in nats; 0 at ignored tokens.

    Args:
        student, teacher: `[..., K]`, log-probabilities at the same temperature. A class to which the
            teacher gives no probability at all (`-inf`) adds nothing.
        ignore: `[...]`, bool.

    Returns:
        `[...]`. Shen et al. (ICLR 2021), equations (3)-(4): with respect to the student it has the
        gradient of the cross-entropy with the teacher's distribution as target.
    """
    probs = teacher.exp()
    terms = probs * (teacher - student)
    return terms.masked_fill(probs == 0, 0.0).sum(-1).masked_fill(ignore, 0.0)
