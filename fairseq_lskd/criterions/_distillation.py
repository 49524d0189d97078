"""What distilling criterions share: where the teacher's part of the loss comes from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from fairseq import utils
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import metrics
from torch import Tensor, nn

from ..errors import UserError
from ..losses import MEAN, HiddenTerm, Objective, Parameters, Projection, Sampled, Schedule, TopK, divergence, push
from ..models import target_embeddings, unwrapped, why_not_projected
from ..teachers import CachedTeacher, OnlineTeacher
from ..teachers.forced import distributions, mixtures
from ..teachers.online import DTYPES
from ..teachers.weights import read_mixture
from ._batch import Batch
from ._forms import Terms
from ._language_pairs import PairOfBatch
from ._options import NO_TEACHER, check_classes, check_distillation, check_sampled, raise_for, remembered
from ._selection import CRITERIA, OF_TEACHER, SELECTIONS, Judged
from ._smoothing import SmoothingCriterion

WITHOUT_TEACHER = f"{{'teacher_path': '{NO_TEACHER}'}}"


@dataclass
class Online:
    """What a running teacher predicts for a batch, whatever its decoder reads."""

    teacher: OnlineTeacher
    like: Tensor  #: a parameter of the student's
    temperature: float
    keeps: bool = False  #: whether it is asked twice about what it reads
    #: What it read last, and what it found, if it keeps that.
    _last: tuple[Any, list[Projection] | None] | None = field(default=None, repr=False)

    def projected(self, batch: Batch) -> list[Projection] | None:
        if self._last is not None and self._last[0] is batch.net_input:
            return self._last[1]
        found = self.teacher.projections(batch.net_input, self.like, batch.indices)
        if self.keeps:
            self._last = (batch.net_input, found)
        return found

    @torch.no_grad()
    def statistics(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Entropy and the label's probability at temperature 1, of the tokens in the mask, `[N]` each."""
        members = self.projected(batch)
        slices = (
            distributions(self.teacher, batch.net_input, batch.indices, self.like)
            if members is None
            else mixtures(members, mixture=self.teacher.mixture)
        )
        entropy, golden, done = [], [], 0
        for log_probs, _ in slices:
            labels = batch.labels[done : done + len(log_probs)]
            golden.append(log_probs.gather(-1, labels.unsqueeze(-1)).squeeze(-1).exp())
            entropy.append(torch.special.entr(log_probs.exp_()).sum(-1))
            done += len(log_probs)
        return torch.cat(entropy), torch.cat(golden)

    def whole(self, batch: Batch) -> Tensor:
        return self.teacher.log_probs(batch.net_input, self.like, self.temperature)[:, batch.prefix :]


@dataclass(frozen=True)
class Cached:
    """What a teacher once predicted for a batch."""

    best: TopK | Sampled  #: of the N tokens in the mask

    def projected(self, batch: Batch) -> TopK | Sampled:
        return self.best

    def whole(self, batch: Batch) -> TopK | Sampled:
        return self.best.scatter(batch.mask[:, batch.prefix :])


class DistillationCriterion(SmoothingCriterion):
    """Adds a teacher's part to the loss:

    `(1 - kd_weight) * H_smoothed(p_S, y) + kd_weight * T^2 * D(p_T^(T), p_S^(T))`
    """

    queue: Any  #: the last tokens' cross-entropies, if --kd-select compares with them, else None
    update: int = 0  #: of the training, counted from 0: the trainer says it
    epoch: int = 1  #: likewise, counted from 1
    hidden_map: Any  #: the matrix of --kd-hidden, once the student is known, else None
    anchor: Any  #: with a queue a parameter that does nothing: fairseq saves the state of criterions that have one

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        self.teacher: OnlineTeacher | None = None
        self.cache: CachedTeacher | None = None
        self._frequency: Tensor | None = None
        wanted = cfg.teacher_path != NO_TEACHER
        if wanted and cfg.teacher_cache is not None:
            with remembered(cfg.teacher_cache, cfg.teacher_path, overrides=WITHOUT_TEACHER):
                self.cache = CachedTeacher.open(
                    cfg.teacher_cache,
                    task,
                    temperature=cfg.kd_temperature,
                    teacher_path=cfg.teacher_path,
                    share=_rank_and_world(),
                )
            if self.cache.draws:
                raise_for(check_sampled(cfg))
            raise_for(check_classes(cfg, self.cache.k, f"--teacher-cache {cfg.teacher_cache} has"))
        elif wanted and cfg.teacher_path is not None:
            with remembered(cfg.teacher_path, overrides=WITHOUT_TEACHER):
                self.teacher = OnlineTeacher.from_checkpoints(
                    cfg.teacher_path, task, cfg.teacher_data, dtype=DTYPES.get(str(cfg.teacher_dtype))
                )
            self.teacher.mixture = read_mixture(cfg.teacher_weights, cfg.teacher_path)
            raise_for(check_classes(cfg, len(task.target_dictionary), "the vocabulary has"))
        self._pair = PairOfBatch(task) if hasattr(task, "_per_lang_pair_train_loss") else None
        self.objective = Objective(
            divergence(str(cfg.kd_divergence), **{name: cfg[f"kd_{name}"] for name in Parameters._fields}),
            cfg.kd_temperature,
            # A cache is cut when it is read.
            cfg.kd_top_k if self.cache is None else None,
            str(cfg.kd_rest),
            cfg.kd_ranking,
            MEAN if self.teacher is None else self.teacher.mixture,
        )
        remembers = wanted and str(cfg.kd_select) == "global"
        # With a dimension, for --ddp-backend legacy_ddp.
        self.register_parameter("anchor", nn.Parameter(torch.zeros(1)) if remembers else None)
        # The bits of float32, which --fp16 would round.
        queue = torch.full((cfg.kd_queue_size,), torch.nan).view(torch.int32) if remembers else None
        self.register_buffer("queue", queue)
        self.register_parameter("hidden_map", None)

    @classmethod
    def check(cls, cfg: Any) -> list[str]:
        return super().check(cfg) + check_distillation(cfg)

    def begin(self, model: Any, max_update: int) -> None:
        """Look at the training that this criterion is for, before it starts.

        Args:
            model: the student; max_update: updates of the whole training, 0 if they are not limited.

        Raises:
            UserError: if a schedule ends after the training does, or --kd-select-by wants what the student lacks.
        """
        if str(self.cfg.kd_select) in SELECTIONS and str(self.cfg.kd_select_by) == "word_norm":
            target_embeddings(model)
        if str(self.cfg.kd_hidden) != "none" and self.teacher is not None:
            self.hidden_map = self._hidden_map(model, self.teacher)
        updates = self.cfg.kd_schedule_updates
        if updates is not None and 0 < max_update < updates:
            raise UserError(
                f"--kd-schedule-updates {updates} is past the end of training, --max-update {max_update}: the schedule "
                "would not come to its end. Give as many at most"
            )

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Any, dict[str, Any]]:
        loss, sample_size, logging_output = super().forward(model, sample, reduce)
        for parameter in (self.anchor, self.hidden_map):
            # Each has a gradient in every batch, also where the teacher says nothing: workers wait for it.
            loss = loss if parameter is None else loss + 0 * parameter.sum()
        return loss, sample_size, logging_output

    def describe(self, model: Any, sample: dict[str, Any]) -> Batch:
        """With the teacher, where there is one."""
        batch = super().describe(model, sample)
        if not self._teaches:
            return batch
        # A cache is read before the student runs: a GPU then is waited for while it has little to do.
        teacher = (
            self._cached(sample, batch)
            if self.teacher is None
            else Online(self._teacher_of_batch, next(model.parameters()), self.kd_temperature, self._asks_twice)
        )
        weight = self.kd_weight
        return replace(
            batch,
            label_weight=1 - weight,
            teacher=teacher,
            teacher_weight=weight,
            objective=replace(self.objective, temperature=self.kd_temperature),
            hidden=self._hidden,
            select=self._selector(model, batch, teacher),
            iterations=self.cfg.kd_iterations if self.training else 1,
        )

    def logging_output(self, batch: Batch, terms: Terms) -> dict[str, Any]:
        found = super().logging_output(batch, terms)
        if terms.hidden is not None:
            found["hidden_loss"] = terms.hidden
        if batch.teacher is not None and self.training:
            now = {"kd_weight": batch.teacher_weight, "kd_temperature": batch.objective.temperature}
            ends = {"kd_weight": self.cfg.kd_weight_end, "kd_temperature": self.cfg.kd_temperature_end}
            # Weighted by tokens, since fairseq adds up over workers and batches.
            found |= {name: now[name] * batch.ntokens for name, end in ends.items() if end is not None}
        return found

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Also the distance of hidden states, and what a schedule has come to."""
        super().reduce_metrics(logging_outputs)
        if any("hidden_loss" in log for log in logging_outputs):
            value, size = (
                sum(utils.item(log.get(key, 0)) for log in logging_outputs) for key in ("hidden_loss", "sample_size")
            )
            metrics.log_scalar("hidden_loss", value / size if size else 0.0, size, round=4)
        for name in ("kd_weight", "kd_temperature"):
            if any(name in log for log in logging_outputs):
                value, tokens = (
                    sum(utils.item(log.get(key, 0)) for log in logging_outputs) for key in (name, "ntokens")
                )
                metrics.log_scalar(name, value / tokens if tokens else 0.0, tokens, round=4)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Take over the queue of a checkpoint, if it has one, whatever its size, and the map of hidden states."""
        if self.queue is not None and state_dict and "queue" in state_dict:
            self._remember(state_dict["queue"].view(torch.float32))
        if self.hidden_map is not None and state_dict and "hidden_map" in state_dict:
            with torch.no_grad():
                self.hidden_map.copy_(state_dict["hidden_map"])

    def why_not_fused(self, model: Any) -> str | None:
        mine = super().why_not_fused(model)
        return mine if mine or self.teacher is None else self.teacher.why_not_projected

    @property
    def kd_weight(self) -> float:
        """Of the teacher's part, at this update."""
        return self._scheduled(self.cfg.kd_weight, self.cfg.kd_weight_end)

    @property
    def kd_temperature(self) -> float:
        """Of the teacher's part, at this update."""
        return self._scheduled(self.cfg.kd_temperature, self.cfg.kd_temperature_end)

    @property
    def _teacher_of_batch(self) -> OnlineTeacher:
        assert self.teacher is not None
        return self.teacher if self._pair is None else self.teacher.of_pair(self._pair.pair)

    @property
    def _teaches(self) -> bool:
        """A cache is of the training data."""
        return self.kd_weight > 0 and (self.teacher is not None or (self.cache is not None and self.training))

    def _scheduled(self, start: float, end: float | None) -> float:
        """On validation the end, so that losses of one training can be compared."""
        if end is None:
            return start
        if not self.training:
            return end
        return Schedule(start, end, self.cfg.kd_schedule_updates, str(self.cfg.kd_schedule)).at(self.update)

    def _cached(self, sample: dict[str, Any], batch: Batch) -> Cached:
        assert self.cache is not None
        real = batch.target.ne(self.padding_idx)
        best = self.cache.lookup(sample["id"], real.sum(1), copy=self.epoch - 1)
        if self.cfg.kd_top_k is not None and isinstance(best, TopK):
            best = best.first(self.cfg.kd_top_k)
        return Cached(best.rows(batch.mask[real]) if batch.prefix else best)

    @property
    def _asks_twice(self) -> bool:
        """Whether a batch's teacher is asked for more than its distributions."""
        return str(self.cfg.kd_hidden) != "none" or str(self.cfg.kd_select_by) in OF_TEACHER

    @property
    def _hidden(self) -> HiddenTerm | None:
        """Only in training: a validated student has no matrix of this."""
        if not self.training or str(self.cfg.kd_hidden) == "none":
            return None
        if self.hidden_map is None:
            raise RuntimeError("--kd-hidden: begin() was not told of the student")
        return HiddenTerm(str(self.cfg.kd_hidden), self.cfg.kd_hidden_weight, self.hidden_map)

    def _hidden_map(self, model: Any, teacher: OnlineTeacher) -> nn.Parameter:
        """`[D_T, D_S]`, even in +-1 / sqrt(D_S) as torch's linear layers begin, from a random state of its own."""
        if why := why_not_projected(model) or teacher.why_not_projected:
            raise UserError(f"--kd-hidden {self.cfg.kd_hidden}: {why}, so that its hidden states are not known")
        widths = [unwrapped(each).decoder.output_projection.weight.size(1) for each in (teacher.models[0], model)]
        even = torch.rand(widths[0], widths[1], generator=torch.Generator().manual_seed(1))
        return nn.Parameter((2 * even - 1) / math.sqrt(widths[1]))

    def _selector(self, model: Any, batch: Batch, teacher: Any) -> Callable[[Callable[[], Tensor]], Tensor] | None:
        """What selects the tokens of this batch that are taught; None for all of them."""
        if not self.training or str(self.cfg.kd_select) not in SELECTIONS:
            return None

        def select(nll: Callable[[], Tensor]) -> Tensor:
            judged = Judged(batch, nll, lambda: target_embeddings(model), lambda: self._counts(batch.target), teacher)
            values = CRITERIA[str(self.cfg.kd_select_by)](judged).detach()
            values = -values if str(self.cfg.kd_select_side) == "low" else values
            return SELECTIONS[str(self.cfg.kd_select)](values, self.cfg.kd_select_share, self._remember)

        return select

    def _counts(self, like: Tensor) -> Tensor:
        """`[K]`: how often each type is in the training target, counted once."""
        if self._frequency is None:
            self._frequency = self._count_training_target()
        self._frequency = self._frequency.to(like.device)
        return self._frequency

    def _remember(self, nll: Tensor) -> Tensor:
        """The queue, NaN where it is not full yet, with new values."""
        values = push(self.queue.view(torch.float32), nll)
        self.queue.copy_(values.view(torch.int32))
        return values


def _rank_and_world() -> tuple[int, int]:
    world = distributed_utils.get_data_parallel_world_size()
    return (distributed_utils.get_data_parallel_rank() if world > 1 else 0), world
