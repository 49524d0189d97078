"""The teacher's term of the loss at each token, and its plain form on `[tokens, vocabulary]` tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .divergence import Divergence, forward_kl, temper
from .mixture import MEAN, Mixture
from .ranking import ranking_loss
from .sampled import Sampled, without_missing_sampled
from .topk import TopK, student_classes, teacher_classes, top_k, without_missing


@dataclass(frozen=True)
class Objective:
    """The teacher's term `T^2 [D(p_T^(T), p_S^(T)) + R]`, where `p^(T)` is `softmax(logits / T)`.

    The factor T^2 keeps the size of the gradient when T changes (Hinton et al., 2015, section 2).
    """

    divergence: Divergence = forward_kl
    temperature: float = 1.0
    top_k: int | None = None  #: compare only the teacher's k most probable classes
    rest: str = "class"  #: what happens to the probability of all other classes: see `teacher_classes`
    ranking: int = 0  #: k of the ranking loss R (TIE-KD); 0 leaves R out
    mixture: Mixture = MEAN  #: weights of several teachers, for the fused form; the plain form gets their mean


def check_sampled(objective: Objective) -> None:
    """Raise a `ValueError` if a sampled teacher gives a biased gradient of the objective."""
    if objective.divergence.name != forward_kl.name or objective.top_k is not None or objective.ranking:
        raise ValueError("a sampled teacher supports only the forward KL of all classes, without top_k and ranking")


def _sampled_loss(student: Tensor, teacher: Sampled, ignore: Tensor) -> Tensor:
    """Return the estimate of the forward KL. If both distributions agree, it is 0 on average, not at each token."""
    teacher, known = without_missing_sampled(teacher)
    lowest = torch.finfo(student.dtype).min  # 0 * lowest is 0, but 0 * inf is NaN
    found = student.gather(-1, teacher.ids).clamp_min(lowest) * teacher.probs.to(student.dtype)
    return (teacher.negentropy.to(student.dtype) - found.sum(-1)).masked_fill(ignore | ~known, 0.0)


def teacher_loss(log_probs: Tensor, teacher: Tensor | TopK | Sampled, ignore: Tensor, objective: Objective) -> Tensor:
    """Return the teacher's term of the loss at each token, in nats, `[...]`, in the dtype of `log_probs`.

    Args:
        log_probs: `[..., K]`, the student's log-probabilities at temperature 1, float32 or wider.
        teacher: the teacher at the objective's temperature: log-probabilities `[..., K]`, a `TopK` or a `Sampled`. A
            token where `rest` or `negentropy` is NaN has no teacher, and its loss is 0.
        ignore: `[...]` bool, true at tokens where the loss is set to 0.
    """
    student = temper(log_probs, objective.temperature)
    if isinstance(teacher, Sampled):
        check_sampled(objective)
        return (objective.temperature**2 * _sampled_loss(student, teacher, ignore)).to(log_probs.dtype)
    if isinstance(teacher, Tensor) and objective.top_k is not None:
        teacher = top_k(teacher, objective.top_k)
    if isinstance(teacher, Tensor):
        loss = objective.divergence(student, teacher.to(student.dtype), ignore)
    else:
        teacher, known = without_missing(teacher)
        teacher = teacher._replace(log_probs=teacher.log_probs.to(student.dtype), rest=teacher.rest.to(student.dtype))
        ignore = ignore | ~known
        classes = teacher_classes(teacher, objective.rest)
        loss = objective.divergence(student_classes(student, teacher.ids), classes, ignore)
    if k := objective.ranking:
        best = top_k(teacher, k) if isinstance(teacher, Tensor) else teacher
        theirs, ours = best.ids[..., :k], student.detach().topk(k).indices
        rank = ranking_loss(
            theirs, best.log_probs[..., :k], ours, student.gather(-1, ours).exp(), student.gather(-1, theirs).exp()
        )
        loss = loss + rank.masked_fill(ignore, 0.0)
    return (objective.temperature**2 * loss).to(log_probs.dtype)
