"""Options that criterions share, and their checks; a mistake ends the command before training starts."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from ..errors import UserError
from ..losses import DIVERGENCES, HIDDEN, RESTS, SCHEDULES, Parameters, divergence
from ..teachers.online import DTYPES
from ..teachers.weights import read_mixture
from ._selection import CRITERIA, OF_TEACHER, SELECTIONS

#: `--teacher-path` of a run without a teacher: to validate a student whose teacher is gone.
NO_TEACHER = "none"
SMOOTHING_PRIORS = ChoiceEnum(["uniform", "unigram"])
LOSS_FORMS = ChoiceEnum(["auto", "fused", "plain"])
KD_DIVERGENCES = ChoiceEnum(list(DIVERGENCES))
KD_RESTS = ChoiceEnum(list(RESTS))
KD_SCHEDULES = ChoiceEnum(["constant", *SCHEDULES])
TEACHER_DTYPES = ChoiceEnum(["student", *DTYPES])
KD_SELECTIONS = ChoiceEnum(["all", *SELECTIONS])
KD_CRITERIA = ChoiceEnum(list(CRITERIA))
KD_HIDDEN = ChoiceEnum(["none", *HIDDEN])
KD_SIDES = ChoiceEnum(["high", "low"])


@dataclass
class SmoothingConfig(FairseqDataclass):
    label_smoothing: float = field(
        default=0.1,
        metadata={"help": "alpha: the share of the target's probability given to the smoothing prior; 0 is none"},
    )
    smoothing_prior: SMOOTHING_PRIORS = field(  # type: ignore[valid-type]  # an enum that fairseq makes at run time
        default="uniform",
        metadata={
            "help": "uniform: alpha / (K - 1) on every other type (fairseq's own label smoothing); "
            "unigram: alpha times the relative frequency of each type in the training target"
        },
    )
    ignore_prefix_size: int = field(
        default=0, metadata={"help": "leave the first N target tokens out of the loss (a language tag, say)"}
    )
    loss_form: LOSS_FORMS = field(  # type: ignore[valid-type]
        default="auto",
        metadata={
            "help": "fused: projection, loss and gradient in chunks, without any [tokens x vocabulary] tensor; "
            "plain: on whole tensors, as fairseq does; auto: fused where the models have a plain output projection"
        },
    )
    sentence_avg: bool = II("optimization.sentence_avg")


@dataclass
class DistillationConfig(SmoothingConfig):
    teacher_path: Optional[str] = field(
        default=None,
        metadata={
            "help": "checkpoint(s) of the teacher, joined by ':'; the distributions of several are averaged. 'none': "
            "no teacher's part, for fairseq-validate --model-overrides \"{'teacher_path': 'none'}\" when it is gone"
        },
    )
    teacher_weights: Optional[str] = field(
        default=None,
        metadata={
            "help": "weights of several teachers, joined by ':' in the order of --teacher-path; or entropy: at each "
            "token a teacher weighs one over its perplexity there (default: all alike)"
        },
    )
    teacher_data: Optional[str] = field(
        default=None,
        metadata={
            "help": "folder with the teacher's dict.*.txt, to compare with the student's "
            "(default: the checkpoint's own folder, else the data folder that it records)"
        },
    )
    teacher_dtype: TEACHER_DTYPES = field(  # type: ignore[valid-type]  # an enum that fairseq makes at run time
        default="student",
        metadata={
            "help": "number format in which --teacher-path runs: float16 or bfloat16 halve its memory beside a student "
            "in float32 (student: the student's)"
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
    kd_schedule: KD_SCHEDULES = field(  # type: ignore[valid-type]
        default="constant",
        metadata={
            "help": "how --kd-weight goes to --kd-weight-end, and --kd-temperature to --kd-temperature-end, over the "
            "first --kd-schedule-updates updates; validation has the values of the end"
        },
    )
    kd_schedule_updates: Optional[int] = field(
        default=None, metadata={"help": "updates that --kd-schedule takes, --max-update at most"}
    )
    kd_weight_end: Optional[float] = field(
        default=None, metadata={"help": "--kd-weight at the end of --kd-schedule (default: it stays)"}
    )
    kd_temperature_end: Optional[float] = field(
        default=None, metadata={"help": "--kd-temperature at the end of --kd-schedule (default: it stays)"}
    )
    kd_divergence: KD_DIVERGENCES = field(  # type: ignore[valid-type]  # an enum that fairseq makes at run time
        default="forward_kl",
        metadata={"help": "the divergence of the student's distribution from the teacher's"},
    )
    kd_beta: float = field(
        default=0.5, metadata={"help": "beta of jensen_shannon, the teacher's share of the mixture, in (0, 1)"}
    )
    kd_skew: float = field(
        default=0.1,
        metadata={
            "help": "of skewed_forward_kl and skewed_reverse_kl, in (0, 1): a side's share in what it is compared with"
        },
    )
    kd_head: float = field(
        default=0.5, metadata={"help": "of adaptive_kl, in (0, 1): the teacher's mass that makes up the head"}
    )
    kd_alpha: float = field(
        default=0.5, metadata={"help": "alpha of alpha_divergence, in (0, 1); towards 1 it is the forward KL"}
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
    kd_hidden: KD_HIDDEN = field(  # type: ignore[valid-type]
        default="none",
        metadata={
            "help": "add the distance of the student's last hidden states, mapped by a learned matrix, from the "
            "teacher's: 1 less their cosine, or the mean squared difference. The matrix is in the checkpoint, not in "
            "the student (to switch it on or off in the middle of a run, --reset-optimizer)"
        },
    )
    kd_hidden_weight: float = field(
        default=1.0, metadata={"help": "weight above 0 of --kd-hidden, beside those of labels and teacher"}
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
    kd_select_by: KD_CRITERIA = field(  # type: ignore[valid-type]
        default="word_ce",
        metadata={
            "help": "what --kd-select batch or global compares: the student's cross-entropy with the label, or its "
            "mean over the sentence; the norm of the label's embedding, its frequency in the training target, the "
            "target's length; the teacher's entropy, or the probability that it gives the label"
        },
    )
    kd_select_side: KD_SIDES = field(  # type: ignore[valid-type]
        default="high", metadata={"help": "teach the tokens with the greatest values of --kd-select-by, or the least"}
    )
    kd_select_share: float = field(
        default=0.5, metadata={"help": "share of tokens, in (0, 1], that --kd-select batch or global teaches"}
    )
    kd_queue_size: int = field(
        default=30_000, metadata={"help": "tokens that --kd-select global compares with; saved in checkpoints"}
    )


def check_smoothing(cfg: Any) -> list[str]:
    """What is wrong with the options of `SmoothingConfig`, a line each."""
    problems = []
    if not 0 <= cfg.label_smoothing < 1:
        problems.append(f"--label-smoothing {cfg.label_smoothing}: expected a number in [0, 1)")
    if cfg.ignore_prefix_size < 0:
        problems.append(f"--ignore-prefix-size {cfg.ignore_prefix_size}: expected 0 or more")
    return problems


def check_distillation(cfg: Any) -> list[str]:
    """What is wrong with the options that `DistillationConfig` adds, a line each."""
    problems = []
    for flag, value in (("--kd-weight", cfg.kd_weight), ("--kd-weight-end", cfg.kd_weight_end)):
        if value is not None and not 0 <= value <= 1:
            problems.append(f"{flag} {value}: expected a number in [0, 1]")
    for flag, value in (("--kd-temperature", cfg.kd_temperature), ("--kd-temperature-end", cfg.kd_temperature_end)):
        if value is not None and not 1e-6 <= value < float("inf"):  # what is divided by less is no number in float32
            problems.append(f"{flag} {value}: expected a number above 0, not smaller than 1e-06")
    problems += _check_schedule(cfg) + _check_selection(cfg) + _check_weights(cfg) + _check_hidden(cfg)
    for name in Parameters._fields:
        if not 0 < (value := getattr(cfg, f"kd_{name}")) < 1:
            problems.append(f"--kd-{name} {value}: expected a number between 0 and 1")
    if not 0 < cfg.kd_select_share <= 1:
        problems.append(f"--kd-select-share {cfg.kd_select_share}: expected a number in (0, 1]")
    for flag, least in (("kd_ranking", 0), ("kd_iterations", 1), ("kd_queue_size", 1), ("kd_top_k", 1)):
        value = getattr(cfg, flag)
        if value is not None and value < least:
            problems.append(f"--{flag.replace('_', '-')} {value}: expected {least} or more")
    cut = cfg.kd_top_k is not None or cfg.teacher_cache is not None
    if cut and str(cfg.kd_rest) == "renormalise" and divergence(str(cfg.kd_divergence)).unbounded:
        problems.append(
            f"--kd-divergence {cfg.kd_divergence} with --kd-rest renormalise is infinite: the student has probability "
            "where the teacher has none; take --kd-rest class"
        )
    if str(cfg.teacher_dtype) != "student" and cfg.teacher_cache is not None:
        problems.append(
            f"--teacher-dtype {cfg.teacher_dtype} is of a teacher that runs, and with --teacher-cache none does"
        )
    if cfg.kd_iterations > 1 and cfg.teacher_cache is not None:
        problems.append(
            f"--kd-iterations {cfg.kd_iterations} asks the teacher about the student's predictions, which no "
            "--teacher-cache can know: give --teacher-path alone"
        )
    return problems


def _check_hidden(cfg: Any) -> list[str]:
    weight, kind = cfg.kd_hidden_weight, str(cfg.kd_hidden)
    if not 0 < weight < float("inf"):
        return [f"--kd-hidden-weight {weight}: expected a number above 0"]
    if kind == "none":
        return [] if weight == 1 else [f"--kd-hidden-weight {weight} weighs nothing: give --kd-hidden too"]
    problems = []
    if cfg.teacher_cache is not None:
        problems.append(f"--kd-hidden {kind}: no --teacher-cache has hidden states; give --teacher-path alone")
    if ":" in (cfg.teacher_path or ""):
        problems.append(f"--kd-hidden {kind} needs one teacher, --teacher-path names several")
    if 0 in (cfg.kd_weight, cfg.kd_weight_end):
        problems.append(f"--kd-hidden {kind} needs a --kd-weight above 0: without it no teacher runs")
    return problems


def _check_weights(cfg: Any) -> list[str]:
    if cfg.teacher_weights is not None and cfg.teacher_cache is not None:
        return [
            f"--teacher-weights {cfg.teacher_weights}: a --teacher-cache has put its teachers together already; give "
            "the weights to `lskd cache`, and leave them out here"
        ]
    if cfg.teacher_path not in (None, NO_TEACHER):
        try:
            read_mixture(cfg.teacher_weights, cfg.teacher_path)
        except UserError as error:
            return [str(error)]
    return []


def _check_selection(cfg: Any) -> list[str]:
    by, side = str(cfg.kd_select_by), str(cfg.kd_select_side)
    if str(cfg.kd_select) == "all":
        flags = {"--kd-select-by": (by, "word_ce"), "--kd-select-side": (side, "high")}
        return [
            f"{flag} {value} selects nothing: give --kd-select batch or global too"
            for flag, (value, usual) in flags.items()
            if value != usual
        ]
    if by in OF_TEACHER and cfg.teacher_cache is not None:
        return [
            f"--kd-select-by {by} asks the whole teacher, of which a --teacher-cache has a part: give --teacher-path "
            "alone"
        ]
    return []


def _check_schedule(cfg: Any) -> list[str]:
    kind, updates = str(cfg.kd_schedule), cfg.kd_schedule_updates
    ends = {"--kd-weight-end": cfg.kd_weight_end, "--kd-temperature-end": cfg.kd_temperature_end}
    given = [f"{flag} {value}" for flag, value in ends.items() if value is not None]
    if kind == "constant":
        given += [] if updates is None else [f"--kd-schedule-updates {updates}"]
        return [f"{', '.join(given)}: of a schedule; give --kd-schedule linear or cosine"] if given else []
    problems = []
    if not given:
        problems.append(f"--kd-schedule {kind} changes nothing: give {' or '.join(ends)}")
    if updates is None:
        problems.append(f"--kd-schedule {kind} needs --kd-schedule-updates, after how many it is at its end")
    elif updates < 1:
        problems.append(f"--kd-schedule-updates {updates}: expected 1 or more")
    if cfg.kd_temperature_end is not None and cfg.teacher_cache is not None:
        problems.append(
            f"--kd-temperature-end {cfg.kd_temperature_end}: a --teacher-cache has one temperature; give "
            "--teacher-path alone, or leave this out"
        )
    return problems


def check_classes(cfg: Any, classes: int, what: str) -> list[str]:
    flags = (("--kd-top-k", cfg.kd_top_k), ("--kd-ranking", cfg.kd_ranking))
    problems = [f"{flag} {k}: {what} {classes} types" for flag, k in flags if k is not None and k > classes]
    if cfg.kd_top_k is not None and cfg.kd_ranking > cfg.kd_top_k:
        problems.append(f"--kd-ranking {cfg.kd_ranking} needs at least as large a --kd-top-k, found {cfg.kd_top_k}")
    return problems


def check_sampled(cfg: Any) -> list[str]:
    """What a cache that has draws from the tail cannot serve, a line each."""
    given = {
        "--kd-divergence": (str(cfg.kd_divergence), "forward_kl"),
        "--kd-top-k": (cfg.kd_top_k, None),
        "--kd-rest": (str(cfg.kd_rest), "class"),
        "--kd-ranking": (cfg.kd_ranking, 0),
    }
    return [
        f"{flag} {value}: --teacher-cache {cfg.teacher_cache} has draws from the tail, which are unbiased for the "
        "forward KL of all types alone. Leave this out, write a cache of a top k (`lskd cache --top-k`), or give "
        "--teacher-path alone"
        for flag, (value, served) in given.items()
        if value != served
    ]


@contextlib.contextmanager
def remembered(*paths: str | None, overrides: str) -> Iterator[None]:
    """Say the way out where a file is gone that a trained student's checkpoint remembers.

    Args:
        overrides: of --model-overrides, what does without it.
    """
    try:
        yield
    except UserError as error:
        if all(Path(part).exists() for path in paths if path for part in path.split(":")):
            raise
        raise UserError(
            f"{error}\n  If it was moved, give its new place. A trained student is validated without it by "
            f'fairseq-validate --model-overrides "{overrides}"'
        ) from None


def raise_for(problems: list[str]) -> None:
    """Raise one `UserError` that says all of `problems`."""
    if problems:
        raise UserError("\n  ".join(["", *problems]) if len(problems) > 1 else problems[0])
