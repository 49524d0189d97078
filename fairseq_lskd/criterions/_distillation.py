"""What distilling criterions share: where the teacher's part of the loss comes from, and what it is."""

from dataclasses import dataclass, field
from typing import Any, Optional

import torch
from fairseq.dataclass import ChoiceEnum
from fairseq.distributed import utils as distributed_utils
from torch import Tensor, nn

from ..errors import exit_on_user_error
from ..losses import (
    DIVERGENCES,
    RESTS,
    FusedLoss,
    Objective,
    Projection,
    TopK,
    divergence,
    fused_loss,
    loss_threshold,
    push,
    teacher_loss,
)
from ..models import log_probs, project
from ..teachers import CachedTeacher, OnlineTeacher
from ._options import SmoothingConfig, raise_for, remembered
from ._translation import Terms, TranslationCriterion, per_token

#: `--teacher-path` of a run without a teacher: to validate a student whose teacher is gone.
NO_TEACHER = "none"
WITHOUT_TEACHER = f"{{'teacher_path': '{NO_TEACHER}'}}"

KD_DIVERGENCES = ChoiceEnum(list(DIVERGENCES))
KD_RESTS = ChoiceEnum(list(RESTS))
KD_SELECTIONS = ChoiceEnum(["all", "batch", "global"])


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
    teacher_cache: Optional[str] = field(
        default=None,
        metadata={
            "help": "folder that `lskd cache` wrote for the training data: the teacher's top-k probabilities, so that "
            "no teacher runs. With --teacher-path, it must be of these checkpoints. Validation has no teacher then"
        },
    )
    kd_weight: float = field(
        default=0.5,
        metadata={"help": "weight of the teacher's part of the loss, in [0, 1]; the labels get the rest"},
    )
    kd_temperature: float = field(
        default=1.0, metadata={"help": "temperature T > 0 of teacher and student in the teacher's part"}
    )
    kd_divergence: KD_DIVERGENCES = field(  # type: ignore[valid-type]  # an enum that fairseq makes at run time
        default="forward_kl",
        metadata={"help": "the divergence of the student's distribution from the teacher's"},
    )
    kd_beta: float = field(
        default=0.5, metadata={"help": "beta of jensen_shannon, the teacher's share of the mixture, in (0, 1)"}
    )
    kd_top_k: Optional[int] = field(
        default=None,
        metadata={"help": "compare the teacher's K most probable types only (default: all, or all that a cache has)"},
    )
    kd_rest: KD_RESTS = field(  # type: ignore[valid-type]
        default="class",
        metadata={
            "help": "the mass that the top K leave over: all other types are one class, which bounds the divergence "
            "from below; or renormalise: the K get all of it"
        },
    )
    kd_ranking: int = field(
        default=0,
        metadata={
            "help": "add the ranking loss of TIE-KD (Zhang et al., 2023) over the top N types; 0: none, theirs: 5"
        },
    )
    kd_iterations: int = field(
        default=1,
        metadata={
            "help": "teach N times, each time with the student's last predictions as decoder input, and average "
            "(TIE-KD; theirs: 3)"
        },
    )
    kd_select: KD_SELECTIONS = field(  # type: ignore[valid-type]
        default="all",
        metadata={
            "help": "teach all tokens, or only the student's hardest (Wang et al., 2021): of the batch, or global, "
            "by comparison with the tokens of the last batches too (to switch to or from global in the middle of a "
            "run, --reset-optimizer)"
        },
    )
    kd_select_share: float = field(
        default=0.5, metadata={"help": "share of tokens, in (0, 1], that --kd-select batch or global teaches"}
    )
    kd_queue_size: int = field(
        default=30_000, metadata={"help": "tokens that --kd-select global compares with; saved in checkpoints"}
    )


class TeacherCriterion(TranslationCriterion):
    """Adds a teacher's part to the loss:

    `(1 - kd_weight) * H_smoothed(p_S, y) + kd_weight * T^2 * D(p_T^(T), p_S^(T))`
    """

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        self.teacher: Any = None  #: OnlineTeacher
        self.cache: Any = None  #: CachedTeacher
        self.label_share: float = 1 - cfg.kd_weight  #: weight of the labels' part where there is a teacher's
        if cfg.teacher_path == NO_TEACHER:
            return
        if cfg.teacher_cache is not None:
            with remembered(cfg.teacher_cache, cfg.teacher_path, overrides=WITHOUT_TEACHER):
                self.cache = CachedTeacher.open(
                    cfg.teacher_cache,
                    task,
                    temperature=cfg.kd_temperature,
                    teacher_path=cfg.teacher_path,
                    share=_rank_and_world(),
                )
            raise_for(_check_classes(cfg, self.cache.k, f"--teacher-cache {cfg.teacher_cache} has"))
        elif cfg.teacher_path is not None:
            with remembered(cfg.teacher_path, overrides=WITHOUT_TEACHER):
                self.teacher = OnlineTeacher.from_checkpoints(cfg.teacher_path, task, cfg.teacher_data)
            raise_for(_check_classes(cfg, len(task.target_dictionary), "the vocabulary has"))
        self.objective = Objective(
            divergence(str(cfg.kd_divergence), cfg.kd_beta),
            cfg.kd_temperature,
            # A cache is cut when it is read.
            cfg.kd_top_k if self.cache is None else None,
            str(cfg.kd_rest),
            cfg.kd_ranking,
        )
        if str(cfg.kd_select) == "global":
            # fairseq saves the state of criterions that have a parameter, and of no others.
            self.anchor = nn.Parameter(torch.zeros(1))  # with a dimension, for --ddp-backend legacy_ddp
            # The bits of float32, which --fp16 would round.
            self.register_buffer("queue", torch.full((cfg.kd_queue_size,), torch.nan).view(torch.int32))

    @classmethod
    def check(cls, cfg: Any) -> list[str]:
        problems = super().check(cfg)
        if not 0 <= cfg.kd_weight <= 1:
            problems.append(f"--kd-weight {cfg.kd_weight}: expected a number in [0, 1]")
        if not 1e-6 <= cfg.kd_temperature < float("inf"):  # what is divided by less is no number in float32
            problems.append(f"--kd-temperature {cfg.kd_temperature}: expected a number above 0, not smaller than 1e-06")
        if not 0 < cfg.kd_beta < 1:
            problems.append(f"--kd-beta {cfg.kd_beta}: expected a number between 0 and 1")
        if not 0 < cfg.kd_select_share <= 1:
            problems.append(f"--kd-select-share {cfg.kd_select_share}: expected a number in (0, 1]")
        for flag, least in (("kd_ranking", 0), ("kd_iterations", 1), ("kd_queue_size", 1), ("kd_top_k", 1)):
            value = getattr(cfg, flag)
            if value is not None and value < least:
                problems.append(f"--{flag.replace('_', '-')} {value}: expected {least} or more")
        cut = cfg.kd_top_k is not None or cfg.teacher_cache is not None
        if cut and str(cfg.kd_rest) == "renormalise" and str(cfg.kd_divergence) == "reverse_kl":
            problems.append(
                "--kd-divergence reverse_kl with --kd-rest renormalise is infinite: the student has probability "
                "where the teacher has none; take --kd-rest class"
            )
        if cfg.kd_iterations > 1 and cfg.teacher_cache is not None:
            problems.append(
                f"--kd-iterations {cfg.kd_iterations} asks the teacher about the student's predictions, which no "
                "--teacher-cache can know: give --teacher-path alone"
            )
        return problems

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Any, dict[str, Any]]:
        loss, sample_size, logging_output = super().forward(model, sample, reduce)
        return (loss + 0 * self.anchor.sum() if hasattr(self, "anchor") else loss), sample_size, logging_output

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Take over the queue of a checkpoint, if it has one, whatever its size."""
        if hasattr(self, "queue") and state_dict and "queue" in state_dict:
            self._push(state_dict["queue"].view(torch.float32))

    def why_not_fused(self, model: Any) -> str | None:
        mine = super().why_not_fused(model)
        return mine if mine or self.teacher is None else self.teacher.why_not_projected

    def fused(self, model: Any, sample: dict[str, Any], counts: Tensor, weights: Tensor | None) -> Terms:
        if not self._teaches:
            return super().fused(model, sample, counts, weights)
        share = self.cfg.kd_weight
        rows = self.places(sample, counts)
        net_input, each = sample["net_input"], per_token(weights, counts, rows)
        # Before the student is asked: what the GPU is to do is not waited for then, but for what it still does.
        cached = None if self.cache is None else self._cached(sample, counts)
        first = student = project(model, net_input, rows)
        taught = each
        target = sample["target"].flatten()[rows]
        if self._selects:
            with torch.no_grad():
                taught = each * self._selected(fused_loss(student, target, each).nll)
        steps: list[FusedLoss] = []
        while True:
            found = fused_loss(
                student,
                target,
                each * (0 if steps else self.label_share),
                **({} if steps else self.smoothing(target.device)),
                teacher=cached or self._asked(model, net_input, rows),
                teacher_weight=share / self._iterations * taught,
                skip=self._selects or not target.is_cuda,
                objective=self.objective,
                guess=len(steps) + 1 < self._iterations,
            )
            steps.append(found)
            if len(steps) == self._iterations:
                break
            net_input = self._fed_back(net_input, counts, rows, found.guess)
            student = project(model, net_input, rows)
        loss = torch.stack([step.loss for step in steps]).sum()
        kd = torch.stack([step.teacher for step in steps]).mean(0) * taught
        return Terms(loss, steps[0].nll, kd, self.predictions(first, target))

    def plain_teacher_loss(
        self, model: Any, sample: dict[str, Any], counts: Tensor, student: Tensor, nll: Tensor
    ) -> Tensor | None:
        if not self._teaches:
            return None
        columns = slice(self.cfg.ignore_prefix_size, None)
        taught = counts[:, columns]
        if self._selects:
            taught = taught.clone()
            taught[taught.clone()] = self._selected(nll[taught])
        total, net_input = torch.zeros_like(nll), sample["net_input"]
        for step in range(self._iterations):
            if step:
                guess = torch.zeros_like(counts, dtype=torch.long)
                guess[:, columns] = student.argmax(-1)
                rows = self.places(sample, counts)
                net_input = self._fed_back(net_input, counts, rows, guess.flatten()[rows])
                student = log_probs(model, net_input)[:, columns]
            if self.cache is None:
                like = next(model.parameters())
                with exit_on_user_error(f"--criterion {self.NAME}"):
                    says = self.teacher.log_probs(net_input, like, self.cfg.kd_temperature)[:, columns]
            else:
                says = TopK(*(field[:, columns] for field in self._cached(sample, counts).spread(counts)))
            total = total + teacher_loss(student, says, ~taught, self.objective)
        return total / self._iterations

    @property
    def _teaches(self) -> bool:
        """A cache is of the training data."""
        return self.cfg.kd_weight > 0 and (self.teacher is not None or (self.cache is not None and self.training))

    @property
    def _iterations(self) -> int:
        return self.cfg.kd_iterations if self.training else 1

    def _asked(self, model: Any, net_input: dict[str, Any], rows: Tensor) -> list[Projection] | None:
        """What the running teacher says of the tokens at `rows` `[N]`."""
        with exit_on_user_error(f"--criterion {self.NAME}"):
            return self.teacher.projections(net_input, next(model.parameters()), rows)
        raise AssertionError  # not reached: the context returns or exits

    def _cached(self, sample: dict[str, Any], counts: Tensor) -> TopK:
        """Of the N tokens that count."""
        real = sample["target"].ne(self.padding_idx)
        found = self.cache.lookup(sample["id"], real.sum(1))
        if self.cfg.kd_top_k is not None:
            found = found.first(self.cfg.kd_top_k)
        return found.rows(counts[real]) if self.cfg.ignore_prefix_size else found

    def _fed_back(self, net_input: dict[str, Any], counts: Tensor, rows: Tensor, guess: Tensor) -> dict[str, Any]:
        """The decoder's input with the student's guesses `[N]` in place of the tokens that count, at `rows` `[N]`."""
        given = net_input["prev_output_tokens"]
        own = torch.zeros_like(given).flatten().index_copy(0, rows, guess).view_as(given)
        fed = given.clone()
        replaced = counts[:, :-1] & given[:, 1:].ne(self.padding_idx)
        fed[:, 1:] = torch.where(replaced, own[:, :-1], given[:, 1:])
        return {**net_input, "prev_output_tokens": fed}

    # Selective distillation.

    @property
    def _selects(self) -> bool:
        return self.training and str(self.cfg.kd_select) != "all"

    def _selected(self, nll: Tensor) -> Tensor:
        """`[N]` bool: which tokens are taught, by their cross-entropy with the label `[N]`."""
        if str(self.cfg.kd_select) == "batch":
            return nll >= loss_threshold(nll, self.cfg.kd_select_share)
        values = self._push(_gather(nll.float()))
        return nll >= loss_threshold(values[~values.isnan()], self.cfg.kd_select_share)

    def _push(self, nll: Tensor) -> Tensor:
        """The queue with new values: of all workers, so that it is the same everywhere and any may save it."""
        values = push(self.queue.view(torch.float32), nll)
        self.queue.copy_(values.view(torch.int32))
        return values


def _check_classes(cfg: Any, classes: int, what: str) -> list[str]:
    flags = (("--kd-top-k", cfg.kd_top_k), ("--kd-ranking", cfg.kd_ranking))
    problems = [f"{flag} {k}: {what} {classes} types" for flag, k in flags if k is not None and k > classes]
    if cfg.kd_top_k is not None and cfg.kd_ranking > cfg.kd_top_k:
        problems.append(f"--kd-ranking {cfg.kd_ranking} needs at least as large a --kd-top-k, found {cfg.kd_top_k}")
    return problems


def _rank_and_world() -> tuple[int, int]:
    world = distributed_utils.get_data_parallel_world_size()
    return (distributed_utils.get_data_parallel_rank() if world > 1 else 0), world


def _gather(values: Tensor) -> Tensor:
    """The `[N]` values of all workers, whose N may differ, in the order of their ranks."""
    world = distributed_utils.get_data_parallel_world_size()
    if world == 1:
        return values
    group = distributed_utils.get_data_parallel_group()
    counts = [torch.zeros(1, dtype=torch.long, device=values.device) for _ in range(world)]
    torch.distributed.all_gather(counts, torch.full_like(counts[0], values.numel()), group=group)
    padded = values.new_zeros(int(max(counts)))
    padded[: values.numel()] = values
    parts = [torch.empty_like(padded) for _ in range(world)]
    torch.distributed.all_gather(parts, padded, group=group)
    return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)])
