"""`--criterion word_kd`: the student matches the teacher's distribution at each target token."""

from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import register_criterion

from ._distillation import TeacherConfig, TeacherCriterion


@dataclass
class WordKDConfig(TeacherConfig):
    label_smoothing: float = field(
        default=0.0, metadata={"help": "label smoothing of the part of the loss that the labels have"}
    )


@register_criterion("word_kd", dataclass=WordKDConfig)
class WordKDCriterion(TeacherCriterion):
    """Word-level distillation (Kim & Rush, EMNLP 2016, section 3.1) from a running teacher or from its cache."""

    NAME = "word_kd"

    @classmethod
    def check(cls, cfg: Any) -> list[str]:
        problems = super().check(cfg)
        if cfg.teacher_path is None and cfg.teacher_cache is None:
            problems.append(
                "--teacher-path is missing: name the teacher's checkpoint(s), joined by ':'; "
                "or --teacher-cache, the folder that `lskd cache` wrote"
            )
        return problems
