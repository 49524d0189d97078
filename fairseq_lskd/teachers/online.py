"""Online teachers: a model, or an ensemble, that runs beside the student."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from fairseq import models
from fairseq.models import FairseqMultiModel
from torch import Tensor

from ..errors import UserError
from ..losses import MEAN, Mixture, Projection, temper
from ..models import log_probs, project, unwrapped, why_not_left_to_right, why_not_projected
from .checkpoint import parameters, read_checkpoint, said
from .compatibility import check_teacher
from .languages import Marks
from .soundness import check_log_probs, check_weights

logger = logging.getLogger(__name__)

#: The choices of --teacher-dtype, apart from the student's dtype.
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
#: Number of tokens of the first batch on which a teacher's probabilities are checked.
CHECKED = 64


def _parts(model: Any, task: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yield a model with its dictionaries, or its part for each language pair if it has such parts."""
    if not isinstance(model, FairseqMultiModel):
        yield model, task.source_dictionary, task.target_dictionary
        return
    for pair in task.model_lang_pairs:
        source, target = pair.split("-")
        yield model.models[pair], task.dicts[source], task.dicts[target]


@torch.no_grad()
def _try(path: str, model: Any, task: Any) -> None:
    """Run a model on an empty sentence, to find options with which it can be built but not run."""
    model.eval()
    for part, source, target in _parts(model, task):
        ends = torch.full((1, 1), source.eos()), torch.full((1, 1), target.eos())
        net_input = {"src_tokens": ends[0], "src_lengths": torch.ones(1, dtype=torch.long)}
        found = log_probs(part, {**net_input, "prev_output_tokens": ends[1]})
        if (shape := tuple(found.shape)) != (wanted := (1, 1, len(target))):
            raise ValueError(f"its probabilities have the shape {shape}, expected {wanted}")
        check_log_probs(path, found)


def _build(path: str, state: dict[str, Any], task: Any) -> Any:
    """Build the model of a checkpoint that fits a task.

    Raises:
        UserError: as `OnlineTeacher.from_checkpoints`.
    """
    check_weights(path, state["model"])
    # Not task.build_model, because with --eval-bleu that makes validation use the teacher.
    try:
        model = models.build_model(state["cfg"]["model"], task)
        model.load_state_dict(state["model"], strict=True, model_cfg=state["cfg"]["model"])
        if why := why_not_left_to_right(model):
            raise UserError(f"the teacher {path} has no distribution over a next token: {why}")
        _try(path, model, task)
    except UserError:
        raise
    except Exception as error:  # the options may be anything, so fairseq may raise anything
        raise UserError(f"the teacher {path} cannot be built from its options: {said(error)}") from None
    return model


class OnlineTeacher:
    """Frozen models with averaged distributions; `mixture` sets their weights.

    This is not an `nn.Module`, so that the optimizer, checkpoints, EMA, gradient clipping and DDP ignore the teacher of
    a criterion.
    """

    def __init__(
        self,
        ensemble: Sequence[Any],
        names: Sequence[str] = (),
        marks: Sequence[Marks | None] = (),
        dtype: torch.dtype | None = None,
    ):
        """Freeze loaded models.

        Args:
            ensemble: fairseq encoder-decoder models.
            names: their names in messages; by default their numbers.
            marks: the language tokens that each model needs in a batch; None for models that need none.
            dtype: the dtype of the models; None is the student's.
        """
        if not ensemble:
            raise ValueError("a teacher needs at least one model")
        self.names = list(names) or [str(number) for number in range(1, len(ensemble) + 1)]
        self.mixture: Mixture = MEAN  #: weights of the models
        self.marks = list(marks) or [None] * len(ensemble)
        self.dtype = dtype
        self._checked: set[torch.dtype] = set()  #: dtypes in which the probabilities have been checked
        self._of_pair: dict[str, OnlineTeacher] = {}
        self.models = [model.eval().requires_grad_(False) for model in ensemble]
        #: The reason why `projections` returns None; None if it does not.
        self.why_not_projected = next(filter(None, map(why_not_projected, self.models)), None)

    @classmethod
    def from_checkpoints(
        cls,
        paths: str,
        task: Any,
        teacher_data: str | None = None,
        beside: str = "student",
        dtype: torch.dtype | None = None,
        loaded: dict[str, Any] | None = None,
    ) -> OnlineTeacher:
        """Load fairseq checkpoints, joined by `:`, that fit the student's `task`.

        For a bilingual task, a multilingual model gets its language tokens in each sentence. `beside` is the word in
        messages for the owner of the task. `loaded` has the multilingual models that other pairs have loaded, by path,
        and gets those that are loaded.

        Raises:
            UserError: if a checkpoint cannot be read (`read_checkpoint`), does not fit (`check_teacher`), is not
                autoregressive, or has invalid weights or probabilities (`check_weights`, `check_log_probs`).
        """
        ensemble, marks = [], []
        for path in paths.split(":"):
            state = read_checkpoint(path)
            reading = check_teacher(path, state, task, teacher_data, beside)
            known = {} if loaded is None or reading is None else loaded
            if (model := known.get(path)) is None:
                model = known[path] = _build(path, state, task if reading is None else reading.task)
            ensemble.append(model if dtype is None else model.to(dtype=dtype))
            marks.append(None if reading is None else reading.marks)
            logger.info(f"teacher {path}: {type(model).__name__}, computes with {parameters(model):,} parameters")
        return cls(ensemble, paths.split(":"), marks, dtype)

    @property
    def widths(self) -> list[int]:
        """The widths of the members' last hidden states. All members have an output projection."""
        return [unwrapped(model).decoder.output_projection.weight.size(1) for model in self.models]

    def of_pair(self, pair: str) -> OnlineTeacher:
        """Return the teacher with the models' parts for a language pair, or itself if the models have no such parts."""
        if not isinstance(self.models[0], FairseqMultiModel):
            return self
        if pair not in self._of_pair:
            self._of_pair[pair] = OnlineTeacher(
                [model.models[pair] for model in self.models], self.names, dtype=self.dtype
            )
            self._of_pair[pair].mixture = self.mixture
        return self._of_pair[pair]

    @property
    def max_positions(self) -> list[tuple[int, int] | None]:
        """The most source and target tokens of each model."""
        return [model.max_positions() for model in self.models]

    def _follow(self, like: Tensor) -> torch.dtype:
        """Move the models to the device of `like`, a parameter of the student, and to their dtype. Return the dtype."""
        dtype = self.dtype or like.dtype
        for model in self.models:
            mine = next(model.parameters())
            if mine.device != like.device or mine.dtype != dtype:
                model.to(device=like.device, dtype=dtype)
        return dtype

    @torch.no_grad()
    def projections(self, net_input: dict[str, Any], like: Tensor, mask: Tensor) -> list[Projection] | None:
        """Return each member's hidden states and output matrix, without a graph; None if one has no output matrix.

        Args:
            net_input: fairseq's `sample["net_input"]`, target side included (teacher forcing).
            like: a parameter of the student. The teacher moves to its device, and to its dtype unless it has its own.
            mask: the tokens, as for `project`.

        Raises:
            UserError: if a member's first outputs in this dtype are not probabilities.
        """
        if self.why_not_projected is not None:
            return None
        dtype = self._follow(like)
        columns = net_input["prev_output_tokens"].size(1)
        found = [
            project(model, net_input, mask)
            if marks is None
            else project(model, marks.read(net_input), marks.places(mask, columns)).classes(slice(marks.classes))
            for model, marks in zip(self.models, self.marks, strict=True)
        ]
        if dtype not in self._checked and len(found[0].hidden):
            for name, (hidden, weight, bias) in zip(self.names, found, strict=True):
                check_log_probs(name, F.log_softmax(F.linear(hidden[:CHECKED], weight, bias), -1, dtype=torch.float32))
            self._checked.add(dtype)
        return found

    @torch.no_grad()
    def log_probs(self, net_input: dict[str, Any], like: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the logarithm of the members' weighted mean distribution, without a graph.

        The temperature is applied to each member before the mean.

        Args:
            net_input: as for `projections`.
            like: as for `projections`.

        Returns:
            `[batch, target length, vocabulary]`, float32, or float64 at high temperatures (see `temper`).
        """
        dtype = self._follow(like)
        members = zip(self.names, self.models, self.marks, strict=True)
        found = (self._outputs(name, model, marks, net_input) for name, model, marks in members)
        mixed = self.mixture.mix(temper(each, temperature) for each in found)
        self._checked.add(dtype)
        return mixed

    def _outputs(self, name: str, model: Any, marks: Marks | None, net_input: dict[str, Any]) -> Tensor:
        found = log_probs(model, net_input if marks is None else marks.read(net_input))
        if next(model.parameters()).dtype not in self._checked:
            check_log_probs(name, found[:, 0])  # later positions may be padding
        # Normalised again without the language tokens.
        return found if marks is None else found[:, marks.shift :, : marks.classes].log_softmax(-1)
