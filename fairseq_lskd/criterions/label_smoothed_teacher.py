"""`--criterion label_smoothed_teacher`: label smoothing for a teacher (Shen et al., ICLR 2021, equation 1)."""

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

#: Minimum occurrences of a type in the validation set for it to count in `--report-stability`.
MIN_COUNT = 5
#: Numbers that workers exchange at each validation step with `--report-stability`: 2 MiB, or at least 7 per type.
SIZE, LEAST_WIDTH = 2**18, 4


@functools.lru_cache(maxsize=4)
def _empty_sums(classes: int) -> ClassSums:
    """Return empty sums for all types, in a sketch small enough for workers to exchange at each step."""
    return ClassSums(torch.arange(classes), classes, max(LEAST_WIDTH, SIZE // classes - 3))


@dataclass
class LabelSmoothedTeacherConfig(SmoothingConfig):
    report_stability: bool = field(
        default=False,
        metadata={
            "help": "log intra_class_variance in validation: 1 - S of Shen et al. (2021), over target types that occur "
            "5 times or more (lower: more information is erased); it is estimated if the vocabulary is large"
        },
    )


@register_criterion("label_smoothed_teacher", dataclass=LabelSmoothedTeacherConfig)
class LabelSmoothedTeacherCriterion(SmoothingCriterion):
    """Cross-entropy with label smoothing: Shen et al. (ICLR 2021), equation (1).

    With the uniform prior, the loss and its gradients are those of fairseq's `label_smoothed_cross_entropy`.
    `--report-stability` logs `1 - S` of equation (2) over the whole validation set.
    """

    NAME = "label_smoothed_teacher"

    def statistics(self, log_probs: Tensor, target: Tensor, ignore: Tensor) -> dict[str, Tensor]:
        found = super().statistics(log_probs, target, ignore)
        if not self.cfg.report_stability:
            return found
        sums = _empty_sums(log_probs.size(1)).fresh(log_probs.device)
        sums.update(log_probs[~ignore].exp(), target[~ignore])
        return {**found, "classes": sums.packed()}

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        super().reduce_metrics(logging_outputs)
        found = [log["classes"] for log in logging_outputs if "classes" in log]
        if found:
            metrics.log_scalar_sum("_classes", sum(found))
            metrics.log_derived("intra_class_variance", _variance)


def _variance(meters: Any) -> float:
    packed = meters["_classes"].sum
    found = stability(_empty_sums(len(packed)).unpacked(packed), min_count=MIN_COUNT)
    return round(found.value, 5)
