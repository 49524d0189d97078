"""Distillation of hidden states: a student's, mapped to the teacher's width by a learned matrix, come close to its."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def _mse(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean of the squared differences (Jiao et al., EMNLP Findings 2020, TinyBERT, equation 8)."""
    return (student - teacher).square().mean(-1)


def _cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """1 less the cosine (Sanh et al., 2019, DistilBERT)."""
    return 1 - F.cosine_similarity(student, teacher, dim=-1)


#: By name: of states `[N, D]` of both, a value a token, `[N]`, 0 where they agree.
HIDDEN: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cosine": _cosine, "mse": _mse}


@dataclass(frozen=True)
class HiddenTerm:
    """What is added to the loss at a token for the distance of two models' hidden states."""

    kind: str  #: one of `HIDDEN`
    weight: float
    matrix: Tensor  #: [D_T, D_S], learned: the map of Romero et al. (ICLR 2015, FitNets)

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """`[N]`, without the weight, in float32 (float64 if the states are).

        Args:
            student: `[N, D_S]`; teacher: `[N, D_T]`, which gets no gradient.
        """
        wide = torch.float64 if student.dtype == torch.float64 else torch.float32
        with torch.autocast(student.device.type, enabled=False):
            mapped = F.linear(student.to(wide), self.matrix.to(wide))
            return HIDDEN[self.kind](mapped, teacher.detach().to(wide))
