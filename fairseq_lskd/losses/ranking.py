"""The hierarchical ranking loss of TIE-KD (Zhang et al., ACL 2023), section 4.1."""

from __future__ import annotations

import torch
from torch import Tensor


def ranking_loss(
    teacher_ids: Tensor, teacher_log_probs: Tensor, student_ids: Tensor, student_probs: Tensor, probs: Tensor
) -> Tensor:
    """What the student's ranking of the teacher's top classes lacks at each token.

    The sum of two hinge losses on the student's probabilities `q`: the teacher's first class should be
    the student's first among the teacher's k (`sum_i max(0, q_i - q_1)`), and the teacher's k should
    come before those of the student's k that the teacher thinks less of
    (`sum_ij max(0, q_j - q_i)` over i of the teacher's k, j of the student's, with `p_T(i) > p_T(j)`).
    It is 0 when both rank alike, and knows nothing of probabilities: it comes on top of a divergence.

    Args:
        teacher_ids: `[..., k]`, the teacher's k most probable classes, the first first.
        teacher_log_probs: `[..., k]`, their log-probabilities.
        student_ids: `[..., k]`, the student's k most probable classes.
        student_probs: `[..., k]`, `q` of `student_ids`.
        probs: `[..., k]`, `q` of `teacher_ids`. Both may need gradients.

    Returns:
        `[...]`, >= 0.
    """
    first = (probs - probs[..., :1]).clamp_min(0).sum(-1)
    # The teacher's log-probability of the student's classes. One that is not among the teacher's k is below them all.
    same = student_ids.unsqueeze(-1) == teacher_ids.unsqueeze(-2)  # [..., j, i]
    theirs = torch.where(same, teacher_log_probs.unsqueeze(-2), -torch.inf).amax(-1)
    before = teacher_log_probs.unsqueeze(-1) > theirs.unsqueeze(-2)  # [..., i, j]
    gap = (student_probs.unsqueeze(-2) - probs.unsqueeze(-1)).clamp_min(0)
    return first + (gap * before).sum((-1, -2))
