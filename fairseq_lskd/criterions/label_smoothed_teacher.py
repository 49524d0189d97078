"""`--criterion label_smoothed_teacher`: a teacher trained on a smoothed target, paper's equation (1)."""

import functools
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.logging import metrics
from torch import Tensor

from ..analysis.stability import stability
from ..analysis.sums import ClassSums
from ._options import SmoothingConfig
from ._smoothing import SmoothingCriterion

#: A type needs so many occurrences in the validation set to count.
MIN_COUNT = 5
#: Numbers that workers add up at each step of validation with `--report-stability`: 2 MiB, or 7 a type.
SIZE, LEAST_WIDTH = 2**18, 4


@functools.lru_cache(maxsize=4)
def _nothing(classes: int) -> ClassSums:
    """Sums of nothing, of all types; sketched so that they can be sent at each step."""
    return ClassSums(torch.arange(classes), classes, max(LEAST_WIDTH, SIZE // classes - 3))


@dataclass
class LabelSmoothedTeacherConfig(SmoothingConfig):
    report_stability: bool = field(
        default=False,
        metadata={
            "help": "log intra_class_variance on validation: 1 - S, the paper's measure of erased information, over "
            "target types that occur 5 times and more (lower: more is erased; estimated if the vocabulary is large)"
        },
    )


@register_criterion("label_smoothed_teacher", dataclass=LabelSmoothedTeacherConfig)
class LabelSmoothedTeacherCriterion(SmoothingCriterion):
    """With the uniform prior, fairseq's `label_smoothed_cross_entropy` in loss and every gradient.

    With `--report-stability`, validation also logs `intra_class_variance`: `1 - S` of equation (2), over the whole set.
    """

    NAME = "label_smoothed_teacher"

    def statistics(self, log_probs: Tensor, target: Tensor, ignore: Tensor) -> dict[str, Tensor]:
        found = super().statistics(log_probs, target, ignore)
        if not self.cfg.report_stability:
            return found
        sums = _nothing(log_probs.size(1)).fresh(log_probs.device)
        sums.update(log_probs[~ignore].exp(), target[~ignore])
        return {**found, "classes": sums.packed()}

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
