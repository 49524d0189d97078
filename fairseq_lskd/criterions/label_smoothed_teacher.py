"""`--criterion label_smoothed_teacher`: a teacher trained on a smoothed target, paper's equation (1)."""

from __future__ import annotations

from fairseq.criterions import register_criterion

from ._options import SmoothingConfig
from ._translation import TranslationCriterion


@register_criterion("label_smoothed_teacher", dataclass=SmoothingConfig)
class LabelSmoothedTeacherCriterion(TranslationCriterion):
    """With the uniform prior, fairseq's `label_smoothed_cross_entropy` in loss and every gradient."""

    NAME = "label_smoothed_teacher"
