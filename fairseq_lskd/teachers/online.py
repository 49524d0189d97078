"""A teacher, or an ensemble, that runs beside the student."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from fairseq import models
from torch import Tensor

from ..errors import UserError
from ..losses import MEAN, Mixture, Projection, temper
from ..models import log_probs, project, why_not_projected
from .checkpoint import read_checkpoint, said
from .compatibility import check_teacher
from .soundness import check_log_probs, check_weights

logger = logging.getLogger(__name__)

#: Tokens, the first of all, by which a teacher's probabilities are checked.
CHECKED = 64


@torch.no_grad()
def _try(path: str, model: Any, task: Any) -> None:
    """Ask a model about an empty sentence: options that it could be built with may still be of the wrong kind."""
    end = torch.full((1, 1), task.target_dictionary.eos())
    source = torch.full((1, 1), task.source_dictionary.eos())
    net_input = {"src_tokens": source, "src_lengths": torch.ones(1, dtype=torch.long), "prev_output_tokens": end}
    found = log_probs(model.eval(), net_input)
    if (shape := tuple(found.shape)) != (wanted := (1, 1, len(task.target_dictionary))):
        raise ValueError(f"its probabilities have the shape {shape}, expected {wanted}")
    check_log_probs(path, found)


class OnlineTeacher:
    """Frozen models whose distributions are averaged, equally unless `mixture` is set otherwise.

    Not an `nn.Module`, on purpose: what a criterion holds of it is in no optimizer, checkpoint, EMA,
    gradient clip or DDP bucket.
    """

    def __init__(self, ensemble: Sequence[Any], names: Sequence[str] = ()):
        """`ensemble`: fairseq encoder-decoder models; `names`: what messages call them, if not by their number."""
        if not ensemble:
            raise ValueError("a teacher needs at least one model")
        self.names = list(names) or [str(number) for number in range(1, len(ensemble) + 1)]
        self.mixture: Mixture = MEAN  #: how their distributions are put together
        self._checked: set[torch.dtype] = set()  #: in which its probabilities were found to be some
        self.models = [model.eval().requires_grad_(False) for model in ensemble]
        #: Why `projections` has nothing to give; None if it has.
        self.why_not_projected = next(filter(None, map(why_not_projected, self.models)), None)

    @classmethod
    def from_checkpoints(
        cls, paths: str, task: Any, teacher_data: str | None = None, beside: str = "student"
    ) -> OnlineTeacher:
        """Load fairseq checkpoints, joined by `:`, that fit the `task` of the student, or of what they stand beside.

        Raises:
            UserError: if one cannot be read (`read_checkpoint`), does not fit (`check_teacher`), or says nothing
                (`check_weights`, `check_log_probs`).
        """
        ensemble = []
        for path in paths.split(":"):
            state = read_checkpoint(path)
            check_teacher(path, state, task, teacher_data, beside)
            check_weights(path, state["model"])
            # Not task.build_model: with --eval-bleu it would point validation at the teacher.
            try:
                model = models.build_model(state["cfg"]["model"], task)
                model.load_state_dict(state["model"], strict=True, model_cfg=state["cfg"]["model"])
                _try(path, model, task)
            except UserError:
                raise
            except Exception as error:  # options of any kind go through any code of fairseq's
                raise UserError(f"the teacher {path} cannot be built from its own options: {said(error)}") from None
            ensemble.append(model)
            logger.info(
                f"teacher {path}: {type(model).__name__}, {sum(p.numel() for p in model.parameters()):,} parameters"
            )
        return cls(ensemble, paths.split(":"))

    def _follow(self, like: Tensor) -> None:
        """Move to the device and dtype of `like`, a parameter of the student's."""
        for model in self.models:
            mine = next(model.parameters())
            if mine.device != like.device or mine.dtype != like.dtype:
                model.to(device=like.device, dtype=like.dtype)

    @torch.no_grad()
    def projections(self, net_input: dict[str, Any], like: Tensor, mask: Tensor) -> list[Projection] | None:
        """Each member's hidden states and output matrix; None if one has no plain output projection.

        Args:
            net_input: fairseq's `sample["net_input"]`, target side included (teacher forcing).
            like: a parameter of the student's, whose device and dtype the teacher takes.
            mask: the tokens that are wanted, as for `project`.

        Returns:
            As `project` does, without a graph.

        Raises:
            UserError: if what a member says first, in this dtype, are no probabilities.
        """
        if self.why_not_projected is not None:
            return None
        self._follow(like)
        found = [project(model, net_input, mask) for model in self.models]
        if like.dtype not in self._checked and len(found[0].hidden):
            for name, (hidden, weight, bias) in zip(self.names, found, strict=True):
                check_log_probs(name, F.log_softmax(F.linear(hidden[:CHECKED], weight, bias), -1, dtype=torch.float32))
            self._checked.add(like.dtype)
        return found

    @torch.no_grad()
    def log_probs(self, net_input: dict[str, Any], like: Tensor, temperature: float = 1.0) -> Tensor:
        """Log of the ensemble's mean distribution, by its mixture; the temperature is applied to each member before.

        Args:
            net_input, like: as for `projections`.

        Returns:
            `[batch, target length, vocabulary]`, of the dtype that `temper` makes of float32, without a graph.
        """
        self._follow(like)
        found = (self._outputs(name, model, net_input) for name, model in zip(self.names, self.models, strict=True))
        mixed = self.mixture.mix(temper(each, temperature) for each in found)
        self._checked.add(like.dtype)
        return mixed

    def _outputs(self, name: str, model: Any, net_input: dict[str, Any]) -> Tensor:
        found = log_probs(model, net_input)
        if next(model.parameters()).dtype not in self._checked:
            check_log_probs(name, found[:, 0])  # further on there may be padding
        return found
