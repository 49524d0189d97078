"""`--criterion seq_kd`: the student is trained on the teacher's translations."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Optional

import torch
from fairseq.criterions import register_criterion
from fairseq.utils import split_paths
from torch import Tensor

from ..errors import UserError
from ..sequences import SequenceWeights
from ..teachers.compatibility import task_name
from ..teachers.languages import options_of
from ._batch import Batch
from ._distillation import DistillationCriterion
from ._options import DistillationConfig, SmoothingConfig, remembered


@dataclass
class SeqKDConfig(DistillationConfig):
    label_smoothing: float = field(
        default=0.0, metadata={"help": "label smoothing of the targets, be they translations or references"}
    )
    sequence_weights: Optional[str] = field(
        default=None,
        metadata={
            "help": "the .npz that `lskd select` wrote beside the training data: a weight a sentence, and which "
            "sentences have references as targets (default: every sentence weighs 1)"
        },
    )
    reference_weight: Optional[float] = field(
        default=None,
        metadata={
            "help": "share of the loss, in [0, 1], for sentences whose target is the reference; the teacher's "
            "translations get the rest. Needs --sequence-weights (default: as the file has it)"
        },
    )


@register_criterion("seq_kd", dataclass=SeqKDConfig)
class SeqKDCriterion(DistillationCriterion):
    """Sequence-level distillation (Kim & Rush, EMNLP 2016, section 3.2).

    The loss of sentence i counts `w_i`, and `sample_size` is `sum_i w_i * tokens_i` (or `sum_i w_i`), so that
    only the proportions of the weights matter. With --teacher-path the word-level term is added, at
    the positions of whatever target the sentence has. Validation counts every sentence once.
    """

    NAME = "seq_kd"

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        self.weights = None
        self._weight: Tensor | None = None
        self._checked = False
        if cfg.sequence_weights is not None:
            if self.pairs:
                raise UserError(
                    f"--sequence-weights {cfg.sequence_weights} is of the sentences of one pair, and --task "
                    f"{task_name(options_of(task))} has several: leave it out, or train on one pair"
                )
            with remembered(cfg.sequence_weights, overrides="{'sequence_weights': None, 'reference_weight': None}"):
                self.weights = SequenceWeights.load(cfg.sequence_weights)
            if cfg.reference_weight is not None:
                self.weights = self.weights.share(cfg.reference_weight)

    @classmethod
    def check(cls, cfg: Any) -> list[str]:
        problems = super().check(cfg)
        share = cfg.reference_weight
        if share is not None and not 0 <= share <= 1:
            problems.append(f"--reference-weight {share}: expected a number in [0, 1]")
        if share is not None and cfg.sequence_weights is None:
            problems.append("--reference-weight needs --sequence-weights, which says which targets are references")
        if cfg.teacher_path is None and cfg.teacher_cache is None and (ignored := _of_the_teacher(cfg)):
            problems.append(
                f"{', '.join(ignored)}: of the word-level part, which needs --teacher-path or --teacher-cache; give "
                "one of them, or leave this out"
            )
        return problems

    def describe(self, model: Any, sample: dict[str, Any]) -> Batch:
        """With the weights of the sentences while training, looked up by their index in the data."""
        batch = super().describe(model, sample)
        if self.weights is None or not self.training:
            return batch
        if not self._checked:
            self._check_length(len(self.weights.weight))
        ids = sample["id"]
        if self._weight is None or self._weight.device != ids.device:
            # All of them, once: a GPU would be waited for to hear which ones are wanted.
            self._weight = torch.from_numpy(self.weights.weight).to(ids.device)
        weights = self._weight[ids].unsqueeze(1)
        tokens = weights * batch.target.ne(self.padding_idx)
        return replace(
            batch, sentence_weights=weights, sample_size=weights.sum() if self.cfg.sentence_avg else tokens.sum()
        )

    def _check_length(self, weights: int) -> None:
        """The training data is known only once it is loaded, so this is looked at on the first batch."""
        name = f"--sequence-weights {self.cfg.sequence_weights}"
        if len(split_paths(self.task.cfg.data)) > 1:
            raise UserError(f"{name} needs the training data in one folder, found {self.task.cfg.data}")
        sentences = len(self.task.dataset(getattr(self.task.cfg, "train_subset", "train")))
        if sentences != weights:
            raise UserError(
                f"{name} has {weights:,} weights, the training data {sentences:,} sentences: "
                "they were not made together; run `lskd select` again"
            )
        self._checked = True


def _of_the_teacher(cfg: Any) -> list[str]:
    """The flags that were given and need a teacher."""
    own = {option.name for option in fields(DistillationConfig)} - {option.name for option in fields(SmoothingConfig)}
    return [
        f"--{option.name.replace('_', '-')} {value}"
        for option in fields(DistillationConfig)
        if option.name in own and str(value := getattr(cfg, option.name)) != str(option.default)
    ]
