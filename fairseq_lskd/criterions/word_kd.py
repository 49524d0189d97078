"""`--criterion word_kd`: the student matches the teacher's distribution at each target token."""

from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.criterions import register_criterion
from torch import Tensor

from ..losses import forward_kl, temper
from ..teachers import OnlineTeacher
from ._options import SmoothingConfig
from ._translation import TranslationCriterion

#: `--teacher-path` of a run without a teacher: to validate a student whose teacher is gone.
NO_TEACHER = "none"


@dataclass
class TeacherConfig(SmoothingConfig):
    teacher_path: Optional[str] = field(
        default=None,
        metadata={
            "help": "checkpoint(s) of the teacher, joined by ':'; the distributions of several are averaged. 'none': "
            "no teacher's part, for fairseq-validate --model-overrides \"{'teacher_path': 'none'}\" when it is gone"
        },
    )
    teacher_data: Optional[str] = field(
        default=None,
        metadata={
            "help": "folder with the teacher's dict.*.txt, to compare with the student's "
            "(default: the checkpoint's own folder, else the data folder that it records)"
        },
    )
    kd_weight: float = field(
        default=0.5,
        metadata={"help": "weight of the teacher's part of the loss, in [0, 1]; the labels get the rest"},
    )
    kd_temperature: float = field(
        default=1.0, metadata={"help": "temperature T > 0 of teacher and student in the teacher's part"}
    )


@dataclass
class WordKDConfig(TeacherConfig):
    label_smoothing: float = field(
        default=0.0, metadata={"help": "label smoothing of the part of the loss that the labels have"}
    )


class TeacherCriterion(TranslationCriterion):
    """Adds a teacher's part to the loss:

    `(1 - kd_weight) * H_smoothed(p_S, y) + kd_weight * T^2 * KL(p_T^(T) || p_S^(T))`
    """

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        self.teacher = None
        if cfg.teacher_path not in (None, NO_TEACHER):
            self.teacher = OnlineTeacher.from_checkpoints(cfg.teacher_path, task, cfg.teacher_data)

    @classmethod
    def check(cls, cfg: Any) -> list[str]:
        problems = super().check(cfg)
        if not 0 <= cfg.kd_weight <= 1:
            problems.append(f"--kd-weight {cfg.kd_weight}: expected a number in [0, 1]")
        if not 0 < cfg.kd_temperature < float("inf"):
            problems.append(f"--kd-temperature {cfg.kd_temperature}: expected a number above 0")
        return problems

    def divergence(self, model: Any, sample: dict[str, Any], log_probs: Tensor, ignore: Tensor) -> Tensor | None:
        if self.teacher is None or self.cfg.kd_weight == 0:
            return None
        temperature = self.cfg.kd_temperature
        teacher = self.teacher.log_probs(sample["net_input"], next(model.parameters()), temperature)
        # T^2 keeps the gradient's size as T grows (Hinton et al., 2015, section 2).
        return temperature**2 * forward_kl(temper(log_probs, temperature), self._drop_prefix(teacher), ignore)


@register_criterion("word_kd", dataclass=WordKDConfig)
class WordKDCriterion(TeacherCriterion):
    """Word-level distillation (Kim & Rush, EMNLP 2016, section 3.1) from an online teacher."""

    NAME = "word_kd"

    @classmethod
    def check(cls, cfg: Any) -> list[str]:
        problems = super().check(cfg)
        if cfg.teacher_path is None:
            problems.append("--teacher-path is missing: name the teacher's checkpoint(s), joined by ':'")
        return problems
