"""The hierarchical ranking loss of TIE-KD (Zhang et al., ACL 2023), section 4.1."""

from __future__ import annotations

import torch
from torch import Tensor


def ranking_loss(
    teacher_ids: Tensor, teacher_log_probs: Tensor, student_ids: Tensor, student_probs: Tensor, probs: Tensor
) -> Tensor:
    """Return the ranking loss at each token, `[...]`, at least 0.

    It is the sum of two hinge losses on the student's probabilities `q`:

    - `sum_i max(0, q_i - q_1)` over the teacher's top k: the teacher's first class should be the student's first.
    - `sum_ij max(0, q_j - q_i)` over i of the teacher's top k and j of the student's top k with `p_T(i) > p_T(j)`: the
      teacher's classes should come before classes that the teacher ranks lower.

    The loss is 0 if both rank the classes in the same order, even with different probabilities. Add it to a divergence.

    Args:
        teacher_ids: `[..., k]`, the teacher's k most probable classes, best first.
        teacher_log_probs: `[..., k]`, their log-probabilities.
        student_ids: `[..., k]`, the student's k most probable classes.
        student_probs: `[..., k]`, `q` of `student_ids`.
        probs: `[..., k]`, `q` of `teacher_ids`. Gradients flow to `probs` and `student_probs`.
    """
    first = (probs - probs[..., :1]).clamp_min(0).sum(-1)
    # The teacher's log-probability of the student's classes; -inf for a class outside of the teacher's top k.
    same = student_ids.unsqueeze(-1) == teacher_ids.unsqueeze(-2)  # [..., j, i]
    theirs = torch.where(same, teacher_log_probs.unsqueeze(-2), -torch.inf).amax(-1)
    before = teacher_log_probs.unsqueeze(-1) > theirs.unsqueeze(-2)  # [..., i, j]
    gap = (student_probs.unsqueeze(-2) - probs.unsqueeze(-1)).clamp_min(0)
    return first + (gap * before).sum((-1, -2))
