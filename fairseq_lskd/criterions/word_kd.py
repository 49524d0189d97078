"""`--criterion word_kd`: the student matches the teacher's distribution at each target token."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from fairseq.criterions import register_criterion

from ..errors import UserError
from ..models import sample_targets
from ..teachers.compatibility import task_name
from ..teachers.known import is_bilingual
from ..teachers.languages import options_of
from ._batch import Batch
from ._distillation import DistillationCriterion
from ._forms import Terms
from ._options import NO_TEACHER, DistillationConfig
from ._smoothing import log_mean


@dataclass
class WordKDConfig(DistillationConfig):
    label_smoothing: float = field(
        default=0.0, metadata={"help": "label smoothing alpha of the label's term of the loss, in [0, 1)"}
    )
    kd_on_policy: float = field(
        default=0.0,
        metadata={
            "help": "probability, in [0, 1], that translations sampled from the student replace the targets of a batch "
            "and the teacher scores those; the label's term is left out then (GKD: Agarwal et al., 2024)"
        },
    )
    kd_on_policy_temperature: float = field(
        default=1.0, metadata={"help": "sampling temperature of --kd-on-policy, above 0"}
    )


@register_criterion("word_kd", dataclass=WordKDConfig)
class WordKDCriterion(DistillationCriterion):
    """Word-level distillation (Kim & Rush, EMNLP 2016, section 3.1).

    The student matches the distribution of an online (`--teacher-path`) or cached (`--teacher-cache`) teacher at each
    target token. The loss is `(1 - w) H(p_S, y) + w T^2 D(p_T, p_S)` with `--kd-weight` w.
    """

    NAME = "word_kd"

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        if cfg.kd_on_policy > 0 and not is_bilingual(kind := task_name(options_of(task))):
            raise UserError(
                f"--kd-on-policy {cfg.kd_on_policy} needs --task translation, found --task {kind}. Leave "
                "--kd-on-policy out"
            )

    @classmethod
    def check(cls, cfg: Any) -> list[str]:
        problems = super().check(cfg)
        if cfg.teacher_path is None and cfg.teacher_cache is None:
            problems.append(
                "--teacher-path is missing. Name the teacher's checkpoint, or several joined by ':'. Or give "
                "--teacher-cache, a folder that `lskd cache` wrote"
            )
        if not 0 <= cfg.kd_on_policy <= 1:
            problems.append(f"--kd-on-policy {cfg.kd_on_policy}: expected a number in [0, 1]")
        if not 0 < cfg.kd_on_policy_temperature < float("inf"):
            problems.append(f"--kd-on-policy-temperature {cfg.kd_on_policy_temperature}: expected a number above 0")
        elif cfg.kd_on_policy == 0 and cfg.kd_on_policy_temperature != 1 and cfg.teacher_path != NO_TEACHER:
            problems.append(
                f"--kd-on-policy-temperature {cfg.kd_on_policy_temperature} has no effect without --kd-on-policy. Give "
                "that too, or leave it out"
            )
        if cfg.kd_on_policy > 0 and cfg.kd_weight == 0 and not cfg.kd_weight_end and cfg.teacher_path != NO_TEACHER:
            problems.append(
                f"--kd-on-policy {cfg.kd_on_policy} needs a --kd-weight above 0, because no teacher runs at 0"
            )
        if cfg.kd_on_policy > 0 and cfg.teacher_cache is not None:
            problems.append(
                f"--kd-on-policy {cfg.kd_on_policy} needs the teacher's distributions on the student's translations, "
                "which a --teacher-cache does not have. Give --teacher-path alone"
            )
        return problems

    def describe(self, model: Any, sample: dict[str, Any]) -> Batch:
        """Replace the targets by sampled translations, without the label's term, in a share of the batches."""
        chance = self.cfg.kd_on_policy if self.training and self._teaches else 0
        if chance == 0:
            return super().describe(model, sample)
        # fairseq seeds torch at each update with --seed and the update's number, so a resumed run draws the same.
        if torch.rand(()) >= chance:
            return replace(super().describe(model, sample), on_policy=False)
        temperature, prefix = self.cfg.kd_on_policy_temperature, self.cfg.ignore_prefix_size
        sample = sample_targets(model, sample, self.task.target_dictionary, temperature, prefix)
        return replace(super().describe(model, sample), on_policy=True, label_weight=0.0)

    def logging_output(self, batch: Batch, terms: Terms) -> dict[str, Any]:
        found = super().logging_output(batch, terms)
        if batch.on_policy is None:
            return found
        if batch.on_policy:
            # The likelihood of the student's own translations is not one of the data.
            found |= {key: 0 * found[key] for key in ("nll_loss", "nll_tokens")}
        return {**found, "on_policy_tokens": batch.ntokens if batch.on_policy else 0}

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        super().reduce_metrics(logging_outputs)
        if any("on_policy_tokens" in log for log in logging_outputs):
            log_mean(logging_outputs, "on_policy_tokens", "ntokens", name="on_policy", digits=3)
