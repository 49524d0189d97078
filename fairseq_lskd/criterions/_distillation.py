"""The base class of the distilling criterions: it loads the teacher and adds the teacher's term to the loss."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from fairseq.distributed import utils as distributed_utils
from torch import Tensor, nn

from ..errors import UserError
from ..losses import MEAN, HiddenTerm, Objective, Parameters, Projection, Sampled, Schedule, TopK, divergence, push
from ..models import target_embeddings, unwrapped, why_not_projected
from ..teachers import CachedTeacher, OnlineTeacher
from ..teachers.forced import distributions, mixtures
from ..teachers.online import DTYPES
from ..teachers.remote import RemoteTeacher
from ..teachers.weights import read_mixture
from ._batch import Batch
from ._checks import check_classes, check_distillation, explain_missing_files, raise_for
from ._forms import Terms
from ._language_pairs import PairOfBatch
from ._options import NO_TEACHER, WITHOUT_TEACHER
from ._pair_teachers import Ahead, PairTeachers, open_cache
from ._selection import CRITERIA, OF_TEACHER, SELECTIONS, SelectionInputs
from ._smoothing import SmoothingCriterion, log_mean

logger = logging.getLogger(__name__)


@dataclass
class Online:
    """The predictions of an online teacher for a batch."""

    teacher: OnlineTeacher
    like: Tensor  #: a parameter of the student
    temperature: float
    keeps: bool = False  #: whether to keep the last projections, because they are needed twice per batch
    _last: tuple[Any, list[Projection] | None] | None = field(default=None, repr=False)  #: input and projections kept

    def projected(self, batch: Batch) -> list[Projection] | None:
        if self._last is not None and self._last[0] is batch.net_input:
            return self._last[1]
        found = self.teacher.projections(batch.net_input, self.like, batch.indices)
        if self.keeps:
            self._last = (batch.net_input, found)
        return found

    @torch.no_grad()
    def statistics(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the entropy and the label's probability at temperature 1 for the tokens of the mask, `[N]` each."""
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
    """The predictions for a batch that a teacher cache stores."""

    best: TopK | Sampled  #: for the N tokens of the mask

    def projected(self, batch: Batch) -> TopK | Sampled:
        return self.best

    def whole(self, batch: Batch) -> TopK | Sampled:
        return self.best.scatter(batch.mask[:, batch.prefix :])


class DistillationCriterion(SmoothingCriterion):
    """A criterion that adds a teacher's term to the loss:

    `(1 - kd_weight) * H_smoothed(p_S, y) + kd_weight * T^2 * D(p_T^(T), p_S^(T))`
    """

    queue: Any  #: the last tokens' values for --kd-select global, else None
    update: int = 0  #: number of the update, from 0; set by `_training`
    epoch: int = 1  #: number of the epoch, from 1; set by `_training`
    hidden_map: Any  #: the matrix of --kd-hidden; None without it, and before `begin`
    #: An unused parameter, only with a queue or --kd-threshold: fairseq saves criterions only if they have a parameter.
    anchor: Any

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        self.teacher: OnlineTeacher | None = None
        self.cache: CachedTeacher | None = None
        self._frequency: Tensor | None = None
        self._pair = PairOfBatch(task) if hasattr(task, "_per_lang_pair_train_loss") else None
        if self.pairs and str(cfg.kd_select) in SELECTIONS and str(cfg.kd_select_by) == "frequency":
            raise UserError(
                f"--kd-select-by frequency needs the training target of one language pair, found "
                f"{', '.join(self.pairs)}. Use another value"
            )
        wanted = cfg.teacher_path != NO_TEACHER
        self.of_pairs = PairTeachers.load(cfg, task, self.pairs, self._pair, _rank_and_world()) if wanted else None
        if wanted and self.of_pairs is None:
            self._load_teacher(task)
        if self.teacher or self.cache or self.of_pairs:
            at = f"--kd-weight {cfg.kd_weight:g}, --kd-temperature {cfg.kd_temperature:g}"
            logger.info(f"distillation: --kd-divergence {cfg.kd_divergence}, {at}")
        self.objective = Objective(
            divergence(str(cfg.kd_divergence), **{name: cfg[f"kd_{name}"] for name in Parameters._fields}),
            cfg.kd_temperature,
            # For a cache, `_cached` takes the top k.
            cfg.kd_top_k if cfg.teacher_cache is None else None,
            str(cfg.kd_rest),
            cfg.kd_ranking,
            MEAN if self.teacher is None else self.teacher.mixture,
        )
        remembers = wanted and str(cfg.kd_select) == "global"
        self.ahead = None
        if self.of_pairs is not None and cfg.kd_threshold is not None:
            self.ahead = Ahead(self.pairs, cfg.kd_threshold)
        # One-dimensional, since --ddp-backend legacy_ddp does not take scalars.
        self.register_parameter("anchor", nn.Parameter(torch.zeros(1)) if remembers or self.ahead else None)
        # float32 values stored as int32, because --fp16 would round floating-point buffers.
        queue = torch.full((cfg.kd_queue_size,), torch.nan).view(torch.int32) if remembers else None
        self.register_buffer("queue", queue)
        self.register_parameter("hidden_map", None)

    def _load_teacher(self, task: Any) -> None:
        """Load the one teacher or cache that the options name, if they name one."""
        cfg = self.cfg
        if cfg.teacher_cache is not None:
            with explain_missing_files(cfg.teacher_cache, cfg.teacher_path, overrides=WITHOUT_TEACHER):
                self.cache = open_cache(cfg, cfg.teacher_cache, task, cfg.teacher_path, _rank_and_world())
        elif cfg.teacher_path is not None:
            with explain_missing_files(cfg.teacher_path, overrides=WITHOUT_TEACHER):
                dtype = DTYPES.get(str(cfg.teacher_dtype))
                self.teacher = (
                    OnlineTeacher.from_checkpoints(cfg.teacher_path, task, cfg.teacher_data, dtype=dtype)
                    if cfg.teacher_process is None
                    else RemoteTeacher(
                        cfg.teacher_path, task, cfg.teacher_data, dtype, cfg.teacher_process, cfg.teacher_ahead
                    )
                )
            self.teacher.mixture = read_mixture(cfg.teacher_weights, cfg.teacher_path)
            raise_for(check_classes(cfg, len(task.target_dictionary), "the vocabulary"))

    @classmethod
    def check(cls, cfg: Any) -> list[str]:
        return super().check(cfg) + check_distillation(cfg)

    def begin(self, model: Any, max_update: int) -> None:
        """Check the options against the student and the training, and create the matrix of --kd-hidden.

        Args:
            model: the student.
            max_update: number of updates of the whole training, 0 if not limited.

        Raises:
            UserError: if a schedule is longer than the training, or the student does not fit an option.
        """
        if str(self.cfg.kd_select) in SELECTIONS and str(self.cfg.kd_select_by) == "word_norm":
            target_embeddings(model)
        if str(self.cfg.kd_hidden) != "none" and self.teacher is not None:
            self.hidden_map = self._hidden_map(model, self.teacher)
        updates = self.cfg.kd_schedule_updates
        if updates is not None and 0 < max_update < updates:
            raise UserError(
                f"--kd-schedule-updates {updates} is longer than the training, --max-update {max_update}. Give at most "
                f"{max_update}"
            )

    def begin_epoch(self, epoch: int, model: Any, batches: Sequence[Sequence[int]] | None) -> None:
        """Let a teacher in another process begin with the batches of an epoch.

        Args:
            batches: the sentences of each batch that comes, in order; None if they are not known.
        """
        self.epoch = epoch
        # Not `kd_weight`: it has the value of the schedule's end, because an epoch begins in eval mode.
        taught = max(self.cfg.kd_weight, self.cfg.kd_weight_end or 0) > 0
        if isinstance(self.teacher, RemoteTeacher) and batches is not None and taught:
            dataset = self.task.dataset(self.task.cfg.train_subset)
            like = next(model.parameters())
            self.teacher.read_ahead(dataset, batches, like, self.padding_idx, self.cfg.ignore_prefix_size)

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Any, dict[str, Any]]:
        loss, sample_size, logging_output = super().forward(model, sample, reduce)
        for parameter in (self.anchor, self.hidden_map):
            # Workers wait for the gradient of every parameter, also in batches without the teacher's term.
            loss = loss if parameter is None else loss + 0 * parameter.sum()
        return loss, sample_size, logging_output

    def describe(self, model: Any, sample: dict[str, Any]) -> Batch:
        """Add the teacher to the description of the batch, if there is one."""
        batch = super().describe(model, sample)
        if not self._teaches:
            return batch
        if self.of_pairs is not None:
            return self._describe_pairs(model, sample, batch)
        # The cache is read before the student runs: reading waits for the GPU, which has little queued at this point.
        teacher = (
            self._cached(sample, batch)
            if self.teacher is None
            else Online(self._teacher_of_batch, next(model.parameters()), self.kd_temperature, self._keeps_projections)
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

    def _describe_pairs(self, model: Any, sample: dict[str, Any], batch: Batch) -> Batch:
        """Add the teachers of language pairs. A token without a teacher has the label's term alone, with weight 1."""
        assert self.of_pairs is not None
        # In validation all teachers run, so that losses are comparable, and to find out which pairs are ahead.
        on = self.ahead.taught() if self.ahead is not None and self.training else [True] * len(self.pairs)
        groups, ids = self.of_pairs.of_batch(sample, batch, on)
        teacher: Any = (
            self.of_pairs.cached(groups, ids, batch, self.epoch - 1, self.cfg.kd_top_k)
            if self.of_pairs.are_cached
            else self.of_pairs.online(groups, next(model.parameters()), self.kd_temperature)
        )
        taught = torch.zeros_like(batch.labels, dtype=torch.bool)
        for group in groups:
            taught[group.tokens] = True
        return replace(
            batch,
            label_weight=1 - self.kd_weight * taught.float(),
            teacher=teacher,
            teacher_weight=self.kd_weight,
            teacher_mask=taught,
            objective=replace(self.objective, temperature=self.kd_temperature),
            select=self._selector(model, batch, teacher),
            guess=self.ahead is not None and not self.training,
        )

    def begin_validation(self) -> None:
        """Forget the last validation; called before each."""
        if self.ahead is not None:
            self.ahead.begin()

    def validated(self, logging_outputs: list[dict[str, Any]]) -> None:
        """Add the counts of --kd-threshold of all workers; called after each validation step."""
        if self.ahead is not None:
            for log in logging_outputs:
                if "pair_counts" in log:
                    self.ahead.add(log["pair_counts"])

    def logging_output(self, batch: Batch, terms: Terms) -> dict[str, Any]:
        found = super().logging_output(batch, terms)
        if self.ahead is not None and terms.guess is not None:
            found["pair_counts"] = self.ahead.count(terms.guess, batch)
        if terms.hidden is not None:
            found["hidden_loss"] = terms.hidden
        if batch.teacher is not None and self.training:
            now = {"kd_weight": batch.teacher_weight, "kd_temperature": batch.objective.temperature}
            ends = {"kd_weight": self.cfg.kd_weight_end, "kd_temperature": self.cfg.kd_temperature_end}
            # Weighted by tokens, because fairseq sums over workers and batches.
            found |= {name: now[name] * batch.ntokens for name, end in ends.items() if end is not None}
        return found

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        super().reduce_metrics(logging_outputs)
        for key, count in (("hidden_loss", "sample_size"), ("kd_weight", "ntokens"), ("kd_temperature", "ntokens")):
            if any(key in log for log in logging_outputs):
                log_mean(logging_outputs, key, count)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load the queue, of any size, the matrix of --kd-hidden and the counts of --kd-threshold, as far as saved."""
        if self.queue is not None and state_dict and "queue" in state_dict:
            self._remember(state_dict["queue"].view(torch.float32))
        if self.hidden_map is not None and state_dict and "hidden_map" in state_dict:
            with torch.no_grad():
                self.hidden_map.copy_(state_dict["hidden_map"])
        if self.ahead is not None and state_dict and "ahead.counts" in state_dict:
            self.ahead.take(state_dict["ahead.counts"])

    def why_not_fused(self, model: Any) -> str | None:
        teachers = self.teacher or self.of_pairs
        return super().why_not_fused(model) or (None if teachers is None else teachers.why_not_projected)

    @property
    def kd_weight(self) -> float:
        """The weight of the teacher's term at this update."""
        return self._scheduled(self.cfg.kd_weight, self.cfg.kd_weight_end)

    @property
    def kd_temperature(self) -> float:
        """The temperature of the teacher's term at this update."""
        return self._scheduled(self.cfg.kd_temperature, self.cfg.kd_temperature_end)

    @property
    def _teacher_of_batch(self) -> OnlineTeacher:
        assert self.teacher is not None
        return self.teacher if self._pair is None else self.teacher.of_pair(self._pair.pair)

    @property
    def _teaches(self) -> bool:
        """Whether the loss has a teacher's term; with a cache only in training, as it has the training data alone."""
        cached = self.cache is not None or (self.of_pairs is not None and self.of_pairs.are_cached)
        online = self.teacher is not None or (self.of_pairs is not None and not cached)
        return self.kd_weight > 0 and (online or (cached and self.training))

    def _scheduled(self, start: float, end: float | None) -> float:
        """Return the value at this update; in validation the end value, so that validation losses are comparable."""
        if end is None:
            return start
        if not self.training:
            return end
        return Schedule(start, end, self.cfg.kd_schedule_updates, str(self.cfg.kd_schedule)).at(self.update)

    def _cached(self, sample: dict[str, Any], batch: Batch) -> Cached:
        assert self.cache is not None
        real = batch.target.ne(self.padding_idx)
        best = self.cache.lookup(sample["id"], real.sum(1), self.epoch - 1, self.cfg.kd_top_k)
        return Cached(best.rows(batch.mask[real]) if batch.prefix else best)

    @property
    def _keeps_projections(self) -> bool:
        """Whether the teacher's projections are needed twice per batch."""
        return str(self.cfg.kd_hidden) != "none" or str(self.cfg.kd_select_by) in OF_TEACHER

    @property
    def _hidden(self) -> HiddenTerm | None:
        """The term of --kd-hidden; None in validation, where the criterion has no matrix."""
        if not self.training or str(self.cfg.kd_hidden) == "none":
            return None
        if self.hidden_map is None:
            raise RuntimeError("--kd-hidden: call begin(student, max_update) before the first batch")
        return HiddenTerm(str(self.cfg.kd_hidden), self.cfg.kd_hidden_weight, self.hidden_map)

    def _hidden_map(self, model: Any, teacher: OnlineTeacher) -> nn.Parameter:
        """Return the initial matrix, `[D_T, D_S]`: uniform in +-1 / sqrt(D_S), as in torch.nn.Linear; fixed seed."""
        if why := why_not_projected(model) or teacher.why_not_projected:
            raise UserError(
                f"--kd-hidden {self.cfg.kd_hidden}: {why}, so hidden states cannot be compared. Leave --kd-hidden out"
            )
        widths = [teacher.widths[0], unwrapped(model).decoder.output_projection.weight.size(1)]
        even = torch.rand(widths[0], widths[1], generator=torch.Generator().manual_seed(1))
        return nn.Parameter((2 * even - 1) / math.sqrt(widths[1]))

    def _selector(self, model: Any, batch: Batch, teacher: Any) -> Callable[[Callable[[], Tensor]], Tensor] | None:
        """Return the function that computes the teacher_mask of a batch; None if all tokens are taught."""
        if not self.training or str(self.cfg.kd_select) not in SELECTIONS:
            return None

        def select(nll: Callable[[], Tensor]) -> Tensor:
            inputs = SelectionInputs(
                batch, nll, lambda: target_embeddings(model), lambda: self._counts(batch.target), teacher
            )
            values = CRITERIA[str(self.cfg.kd_select_by)](inputs).detach()
            values = -values if str(self.cfg.kd_select_side) == "low" else values
            return SELECTIONS[str(self.cfg.kd_select)](values, self.cfg.kd_select_share, self._remember)

        return select

    def _counts(self, like: Tensor) -> Tensor:
        """Return how often each type occurs in the training target, `[K]`; counted once."""
        if self._frequency is None:
            self._frequency = self._count_training_target()
        self._frequency = self._frequency.to(like.device)
        return self._frequency

    def _remember(self, nll: Tensor) -> Tensor:
        """Add values to the queue and return it; NaN marks places that are not filled yet."""
        values = push(self.queue.view(torch.float32), nll)
        self.queue.copy_(values.view(torch.int32))
        return values


def _rank_and_world() -> tuple[int, int]:
    world = distributed_utils.get_data_parallel_world_size()
    return (distributed_utils.get_data_parallel_rank() if world > 1 else 0), world
