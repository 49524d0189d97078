"""The distance between the teacher's hidden states and the student's, mapped to the same width by a learned matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def _mse(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean squared difference (Jiao et al., EMNLP Findings 2020, TinyBERT, equation 8)."""
    return (student - teacher).square().mean(-1)


def _cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine (Sanh et al., 2019, DistilBERT)."""
    return 1 - F.cosine_similarity(student, teacher, dim=-1)


#: Distances by name: functions of two `[N, D]` tensors that return `[N]`, 0 at equality.
HIDDEN: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cosine": _cosine, "mse": _mse}


@dataclass(frozen=True)
class HiddenTerm:
    """The loss term for the distance between the hidden states of student and teacher."""

    kind: str  #: one of `HIDDEN`
    weight: float
    matrix: Tensor  #: [D_T, D_S], learned: the map of Romero et al. (ICLR 2015, FitNets)

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the distance at each token, `[N]`, not multiplied by the weight; float32, or float64 like the student.

        Args:
            student: `[N, D_S]`.
            teacher: `[N, D_T]`, which gets no gradient.
        """
        wide = torch.float64 if student.dtype == torch.float64 else torch.float32
        with torch.autocast(student.device.type, enabled=False):
            mapped = F.linear(student.to(wide), self.matrix.to(wide))
            return HIDDEN[self.kind](mapped, teacher.detach().to(wide))
