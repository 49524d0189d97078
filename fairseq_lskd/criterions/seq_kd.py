"""`--criterion seq_kd`: the student is trained on the teacher's translations."""

import logging
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Optional

import torch
from fairseq.criterions import register_criterion
from fairseq.utils import split_paths
from torch import Tensor

from ..data.binarised import count_sentences
from ..errors import UserError
from ..files import sha256
from ..reading import read_value, value_at
from ..sequences import SequenceWeights
from ..sequences.manifest import BINARISED, MANIFEST, WEIGHTS
from ..teachers.compatibility import task_name
from ..teachers.languages import options_of
from ._batch import Batch
from ._checks import explain_missing_files
from ._distillation import DistillationCriterion
from ._options import DistillationConfig, SmoothingConfig

logger = logging.getLogger(__name__)


@dataclass
class SeqKDConfig(DistillationConfig):
    label_smoothing: float = field(
        default=0.0, metadata={"help": "label smoothing alpha of translations and references, in [0, 1)"}
    )
    sequence_weights: Optional[str] = field(
        default=None,
        metadata={
            "help": "file train.weights.npz that `lskd select` wrote for this training data: the weight of each "
            "sentence, and whether its target is a reference (default: every sentence has weight 1)"
        },
    )
    reference_weight: Optional[float] = field(
        default=None,
        metadata={
            "help": "share r of the references in the loss, in [0, 1]: their weights are multiplied by r, those of "
            "translations by 1 - r. Needs --sequence-weights (default: the weights in that file)"
        },
    )


@register_criterion("seq_kd", dataclass=SeqKDConfig)
class SeqKDCriterion(DistillationCriterion):
    """Sequence-level distillation (Kim & Rush, EMNLP 2016, section 3.2).

    The loss of sentence i is multiplied by its weight `w_i`, and divided by `sum_i w_i * tokens_i` (`sum_i w_i` with
    `--sentence-avg`), so only the proportions of the weights matter. `--teacher-path` and `--teacher-cache` add the
    word-level term at each target token. In validation every sentence has the weight 1.
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
                    f"--sequence-weights {cfg.sequence_weights} has weights for one language pair, but --task "
                    f"{task_name(options_of(task))} has several. Leave --sequence-weights out, or train on one pair"
                )
            with explain_missing_files(
                cfg.sequence_weights, overrides="{'sequence_weights': None, 'reference_weight': None}"
            ):
                self.weights = SequenceWeights.load(cfg.sequence_weights)
            logger.info(f"weights of {len(self.weights.weight):,} training sentences from {cfg.sequence_weights}")
            if cfg.reference_weight is not None:
                self.weights = self.weights.share(cfg.reference_weight)

    @classmethod
    def check(cls, cfg: Any) -> list[str]:
        problems = super().check(cfg)
        share = cfg.reference_weight
        if share is not None and not 0 <= share <= 1:
            problems.append(f"--reference-weight {share}: expected a number in [0, 1]")
        if share is not None and cfg.sequence_weights is None:
            problems.append("--reference-weight needs --sequence-weights, which records which targets are references")
        if cfg.teacher_path is None and cfg.teacher_cache is None and (ignored := _teacher_flags(cfg)):
            problems.append(
                f"{', '.join(ignored)} has no effect without a teacher. Give --teacher-path or --teacher-cache for a "
                "word-level term, or leave it out"
            )
        return problems

    def describe(self, model: Any, sample: dict[str, Any]) -> Batch:
        """Add the sentence weights in training, looked up by the sentences' index in the data."""
        batch = super().describe(model, sample)
        if self.weights is None or not self.training:
            return batch
        if not self._checked:
            self._check_data(len(self.task.dataset(self._split)))
            self._checked = True
        ids = sample["id"]
        if self._weight is None or self._weight.device != ids.device:
            # Moved to the device once: fetching the ids of each batch would wait for the GPU.
            self._weight = torch.from_numpy(self.weights.weight).to(ids.device)
        weights = self._weight[ids].unsqueeze(1)
        tokens = weights * batch.target.ne(self.padding_idx)
        return replace(
            batch, sentence_weights=weights, sample_size=weights.sum() if self.cfg.sentence_avg else tokens.sum()
        )

    def begin(self, model: Any, max_update: int) -> None:
        super().begin(model, max_update)
        if self.weights is not None:
            self._check_data(self._sentences_on_disk())
            return
        beside = Path(split_paths(options_of(self.task).data)[0]).parent / WEIGHTS
        if beside.is_file():
            logger.warning(
                f"--sequence-weights is not given, so every sentence has the weight 1. {beside} has the weights of "
                f"this training data: give --sequence-weights {beside}"
            )
        else:
            logger.info("without --sequence-weights every training sentence has the weight 1")

    @property
    def _split(self) -> str:
        return getattr(self.task.cfg, "train_subset", "train")

    def _sentences_on_disk(self) -> int | None:
        """Return the number of training sentences, before fairseq loads them; None if it may take other files."""
        if task_name(options_of(self.task)) != "translation":
            return None
        source, target = self.task.cfg.source_lang, self.task.cfg.target_lang
        name, folder = f"{source}-{target}.{target}.idx", Path(self.task.cfg.data)
        return (
            None if (folder / f"{self._split}1.{name}").exists() else count_sentences(folder / f"{self._split}.{name}")
        )

    def _check_data(self, sentences: int | None) -> None:
        """Check that the training data has a weight for each sentence. If the number is None, it is not checked."""
        assert self.weights is not None
        name, weights = f"--sequence-weights {self.cfg.sequence_weights}", len(self.weights.weight)
        if len(split_paths(self.task.cfg.data)) > 1:
            raise UserError(
                f"{name} needs the training data in one folder, found {self.task.cfg.data}. Name one of them"
            )
        if sentences is not None and sentences != weights:
            raise UserError(
                f"{name} has {weights:,} weights, but the training data has {sentences:,} sentences. Give the data and "
                "the weights of one `lskd select` run, or run `lskd select` again"
            )
        self._check_selection(name)

    def _check_selection(self, name: str) -> None:
        """Check that the weights and the training data are from one selection, if `lskd select` binarised it."""
        source, target = self.task.cfg.source_lang, self.task.cfg.target_lang
        index = f"train.{source}-{target}.{target}.idx"
        manifest, data = Path(self.cfg.sequence_weights).parent / MANIFEST, Path(self.task.cfg.data, index)
        recorded = value_at(read_value(manifest, "digests"), f"{BINARISED}/{index}")
        if recorded is not None and data.is_file() and sha256(data) != recorded:
            raise UserError(
                f"{name} belongs to {manifest.parent / BINARISED}, but the training data is {self.task.cfg.data}, "
                "which has other sentences. Give the data and the weights of one `lskd select` run"
            )


def _teacher_flags(cfg: Any) -> list[str]:
    """Return the flags, with values, that differ from their defaults and have an effect only with a teacher."""
    own = {option.name for option in fields(DistillationConfig)} - {option.name for option in fields(SmoothingConfig)}
    return [
        f"--{option.name.replace('_', '-')} {value}"
        for option in fields(DistillationConfig)
        if option.name in own and str(value := getattr(cfg, option.name)) != str(option.default)
    ]
