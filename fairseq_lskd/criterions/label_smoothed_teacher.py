"""`--criterion label_smoothed_teacher`: a teacher trained on a smoothed target, paper's equation (1)."""

from __future__ import annotations

import functools
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.logging import metrics
from torch import Tensor

from ..analysis.stability import stability
from ..analysis.sums import ClassSums
from ._options import TeacherTrainingConfig
from ._translation import TranslationCriterion

#: A type needs so many occurrences in the validation set to count.
MIN_COUNT = 5
#: Numbers that workers add up at each step of validation with `--report-stability`: 2 MiB, or 7 a type.
SIZE, LEAST_WIDTH = 2**18, 4


@functools.lru_cache(maxsize=4)
def _nothing(classes: int) -> ClassSums:
    """Sums of nothing, of all types; sketched so that they can be sent at each step."""
    return ClassSums(torch.arange(classes), classes, max(LEAST_WIDTH, SIZE // classes - 3))


@register_criterion("label_smoothed_teacher", dataclass=TeacherTrainingConfig)
class LabelSmoothedTeacherCriterion(TranslationCriterion):
    """With the uniform prior, fairseq's `label_smoothed_cross_entropy` in loss and every gradient.

    With `--report-stability`, validation also logs `intra_class_variance`: `1 - S` of equation (2), over the whole set.
    """

    NAME = "label_smoothed_teacher"

    def class_sums(self, log_probs: Tensor, target: Tensor, ignore: Tensor) -> Tensor | None:
        if not self.cfg.report_stability:
            return None
        sums = _nothing(log_probs.size(1)).fresh(log_probs.device)
        sums.update(log_probs[~ignore].exp(), target[~ignore])
        return sums.packed()

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """As of all criterions, with the stability of all batches and workers."""
        super().reduce_metrics(logging_outputs)
        found = [log["classes"] for log in logging_outputs if "classes" in log]
        if found:
            metrics.log_scalar_sum("_classes", sum(found))
            metrics.log_derived("intra_class_variance", _variance)


def _variance(meters: Any) -> float:
    packed = meters["_classes"].sum
    found = stability(_nothing(len(packed)).unpacked(packed), min_count=MIN_COUNT)
    return round(found.value, 5)
