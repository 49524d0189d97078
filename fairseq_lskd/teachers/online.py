"""A teacher, or an ensemble, that runs beside the student."""

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
from ..models import log_probs, project, why_not_left_to_right, why_not_projected
from .checkpoint import read_checkpoint, said
from .compatibility import check_teacher
from .languages import Marks
from .soundness import check_log_probs, check_weights

logger = logging.getLogger(__name__)

#: Number formats that a teacher can be made to run in.
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
#: Tokens, the first of all, by which a teacher's probabilities are checked.
CHECKED = 64


def _parts(model: Any, task: Any) -> Iterator[tuple[Any, Any, Any]]:
    """A model with its dictionaries; of one with a part for each language pair, each of the task's pairs' part."""
    if not isinstance(model, FairseqMultiModel):
        yield model, task.source_dictionary, task.target_dictionary
        return
    for pair in task.model_lang_pairs:
        source, target = pair.split("-")
        yield model.models[pair], task.dicts[source], task.dicts[target]


@torch.no_grad()
def _try(path: str, model: Any, task: Any) -> None:
    """Ask a model about an empty sentence: options that it could be built with may still be of the wrong kind."""
    model.eval()
    for part, source, target in _parts(model, task):
        ends = torch.full((1, 1), source.eos()), torch.full((1, 1), target.eos())
        net_input = {"src_tokens": ends[0], "src_lengths": torch.ones(1, dtype=torch.long)}
        found = log_probs(part, {**net_input, "prev_output_tokens": ends[1]})
        if (shape := tuple(found.shape)) != (wanted := (1, 1, len(target))):
            raise ValueError(f"its probabilities have the shape {shape}, expected {wanted}")
        check_log_probs(path, found)


class OnlineTeacher:
    """Frozen models whose distributions are averaged, equally unless `mixture` is set otherwise.

    Not an `nn.Module`, on purpose: what a criterion holds of it is in no optimizer, checkpoint, EMA,
    gradient clip or DDP bucket.
    """

    def __init__(
        self,
        ensemble: Sequence[Any],
        names: Sequence[str] = (),
        marks: Sequence[Marks | None] = (),
        dtype: torch.dtype | None = None,
    ):
        """A teacher of loaded models.

        Args:
            ensemble: fairseq encoder-decoder models.
            names: what messages call them, if not by their number.
            marks: what each reads around the sentences of a batch, beyond what is in it.
            dtype: in which they run, if not in the student's.
        """
        if not ensemble:
            raise ValueError("a teacher needs at least one model")
        self.names = list(names) or [str(number) for number in range(1, len(ensemble) + 1)]
        self.mixture: Mixture = MEAN  #: how their distributions are put together
        self.marks = list(marks) or [None] * len(ensemble)
        self.dtype = dtype
        self._checked: set[torch.dtype] = set()  #: in which its probabilities were found to be some
        self._of_pair: dict[str, OnlineTeacher] = {}
        self.models = [model.eval().requires_grad_(False) for model in ensemble]
        #: Why `projections` has nothing to give; None if it has.
        self.why_not_projected = next(filter(None, map(why_not_projected, self.models)), None)

    @classmethod
    def from_checkpoints(
        cls,
        paths: str,
        task: Any,
        teacher_data: str | None = None,
        beside: str = "student",
        dtype: torch.dtype | None = None,
    ) -> OnlineTeacher:
        """Load fairseq checkpoints, joined by `:`, that fit the `task` of the student, or of what they stand beside.

        A member that was trained on several languages, for a task of one pair, reads its language tokens around each
        sentence.

        Raises:
            UserError: if one cannot be read (`read_checkpoint`), does not fit (`check_teacher`), is not left-to-right
                or says nothing (`check_weights`, `check_log_probs`).
        """
        ensemble, marks = [], []
        for path in paths.split(":"):
            state = read_checkpoint(path)
            reading = check_teacher(path, state, task, teacher_data, beside)
            check_weights(path, state["model"])
            own = task if reading is None else reading.task
            # Not task.build_model: with --eval-bleu it would point validation at the teacher.
            try:
                model = models.build_model(state["cfg"]["model"], own)
                model.load_state_dict(state["model"], strict=True, model_cfg=state["cfg"]["model"])
                if why := why_not_left_to_right(model):
                    raise UserError(f"the teacher {path} has no distribution over a next token: {why}")
                _try(path, model, own)
            except UserError:
                raise
            except Exception as error:  # options of any kind go through any code of fairseq's
                raise UserError(f"the teacher {path} cannot be built from its own options: {said(error)}") from None
            ensemble.append(model if dtype is None else model.to(dtype=dtype))
            marks.append(None if reading is None else reading.marks)
            logger.info(
                f"teacher {path}: {type(model).__name__}, {sum(p.numel() for p in model.parameters()):,} parameters"
            )
        return cls(ensemble, paths.split(":"), marks, dtype)

    def of_pair(self, pair: str) -> OnlineTeacher:
        """Its parts for a language pair, where its models have such (those of `multilingual_translation`)."""
        if not isinstance(self.models[0], FairseqMultiModel):
            return self
        if pair not in self._of_pair:
            self._of_pair[pair] = OnlineTeacher(
                [model.models[pair] for model in self.models], self.names, dtype=self.dtype
            )
            self._of_pair[pair].mixture = self.mixture
        return self._of_pair[pair]

    def _follow(self, like: Tensor) -> torch.dtype:
        """Move to the device and dtype of `like`, a parameter of the student's; the dtype that it is then."""
        dtype = self.dtype or like.dtype
        for model in self.models:
            mine = next(model.parameters())
            if mine.device != like.device or mine.dtype != dtype:
                model.to(device=like.device, dtype=dtype)
        return dtype

    @torch.no_grad()
    def projections(self, net_input: dict[str, Any], like: Tensor, mask: Tensor) -> list[Projection] | None:
        """Each member's hidden states and output matrix; None if one has no plain output projection.

        Args:
            net_input: fairseq's `sample["net_input"]`, target side included (teacher forcing).
            like: a parameter of the student's, whose device the teacher takes, and its dtype if it has none of its own.
            mask: the tokens that are wanted, as for `project`.

        Returns:
            As `project` does, without a graph.

        Raises:
            UserError: if what a member says first, in this dtype, are no probabilities.
        """
        if self.why_not_projected is not None:
            return None
        dtype = self._follow(like)
        columns = net_input["prev_output_tokens"].size(1)
        found = [
            project(model, net_input, mask)
            if marks is None
            else _first_classes(project(model, marks.read(net_input), marks.places(mask, columns)), marks.classes)
            for model, marks in zip(self.models, self.marks, strict=True)
        ]
        if dtype not in self._checked and len(found[0].hidden):
            for name, (hidden, weight, bias) in zip(self.names, found, strict=True):
                check_log_probs(name, F.log_softmax(F.linear(hidden[:CHECKED], weight, bias), -1, dtype=torch.float32))
            self._checked.add(dtype)
        return found

    @torch.no_grad()
    def log_probs(self, net_input: dict[str, Any], like: Tensor, temperature: float = 1.0) -> Tensor:
        """Log of the ensemble's mean distribution, by its mixture; the temperature is applied to each member before.

        Args:
            net_input, like: as for `projections`.

        Returns:
            `[batch, target length, vocabulary]`, of the dtype that `temper` makes of float32, without a graph.
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
            check_log_probs(name, found[:, 0])  # further on there may be padding
        # Given that the next token is none of the languages'.
        return found if marks is None else found[:, marks.shift :, : marks.classes].log_softmax(-1)


def _first_classes(found: Projection, classes: int) -> Projection:
    """Of the first classes alone: the distribution given that it is one of them."""
    return Projection(found.hidden, found.weight[:classes], None if found.bias is None else found.bias[:classes])
