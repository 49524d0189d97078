"""Checks of the criterions' options. A wrong option ends the command before training starts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from ..commands import PROGRAMS
from ..compat.evaluated_options import running_command
from ..errors import UserError
from ..losses import Parameters, divergence
from ..teachers.of_pairs import by_pair, paths_in
from ..teachers.weights import read_mixture
from ._options import NO_TEACHER, DistillationConfig
from ._selection import OF_TEACHER, SELECTIONS

#: Options that are parameters of divergences, and the divergences that use them.
PARAMETERS = {
    "kd_beta": ("jensen_shannon",),
    "kd_skew": ("skewed_forward_kl", "skewed_reverse_kl"),
    "kd_head": ("adaptive_kl",),
    "kd_alpha": ("alpha_divergence",),
}


def check_smoothing(cfg: Any) -> list[str]:
    """Return the problems with the options of `SmoothingConfig`, one message each."""
    problems = []
    if not 0 <= cfg.label_smoothing < 1:
        problems.append(f"--label-smoothing {cfg.label_smoothing}: expected a number in [0, 1)")
    if cfg.ignore_prefix_size < 0:
        problems.append(f"--ignore-prefix-size {cfg.ignore_prefix_size}: expected 0 or more")
    # A validation without the training data has this label smoothing, see `SmoothingCriterion._smoothing_prior`.
    if cfg.label_smoothing == 0 and str(cfg.smoothing_prior) != "uniform" and running_command() in PROGRAMS:
        problems.append(
            f"--smoothing-prior {cfg.smoothing_prior} has no effect with --label-smoothing 0. Give --label-smoothing, "
            "or leave it out"
        )
    return problems


def check_distillation(cfg: Any) -> list[str]:
    """Return the problems with the options that `DistillationConfig` adds, one message each."""
    problems = []
    for flag, value in (("--kd-weight", cfg.kd_weight), ("--kd-weight-end", cfg.kd_weight_end)):
        if value is not None and not 0 <= value <= 1:
            problems.append(f"{flag} {value}: expected a number in [0, 1]")
    for flag, value in (("--kd-temperature", cfg.kd_temperature), ("--kd-temperature-end", cfg.kd_temperature_end)):
        if value is not None and not 1e-6 <= value < float("inf"):  # dividing by less may overflow float32
            problems.append(f"{flag} {value}: expected a number above 0, not smaller than 1e-06")
    problems += _check_schedule(cfg) + _check_selection(cfg) + _check_weights(cfg) + _check_hidden(cfg)
    problems += _check_pairs(cfg)
    problems += _check_process(cfg)
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
            f"--kd-divergence {cfg.kd_divergence} is infinite with --kd-rest renormalise, because the student gives "
            "probability to types that have none from the teacher. Use --kd-rest class"
        )
    for flag, value, usual in (
        ("--teacher-dtype", str(cfg.teacher_dtype), "student"),
        ("--teacher-data", cfg.teacher_data, None),
    ):
        if value != usual and cfg.teacher_cache is not None and cfg.teacher_path != NO_TEACHER:
            problems.append(
                f"{flag} {value} has no effect with --teacher-cache, because no teacher runs. Leave {flag} out"
            )
    if cfg.kd_iterations > 1 and cfg.teacher_cache is not None:
        problems.append(
            f"--kd-iterations {cfg.kd_iterations} needs the teacher's distributions given the student's predictions, "
            "which a --teacher-cache does not have. Give --teacher-path alone"
        )
    return problems or _without_effect(cfg)


def _without_effect(cfg: Any) -> list[str]:
    """Return a message for each parameter that differs from its default, and that no given option uses."""
    if cfg.teacher_path == NO_TEACHER or (cfg.teacher_path is None and cfg.teacher_cache is None):
        return []  # no teacher: nothing has an effect
    kind, select = str(cfg.kd_divergence), str(cfg.kd_select)
    needs = {name: (kind in users, f"--kd-divergence {' or '.join(users)}") for name, users in PARAMETERS.items()}
    needs |= {
        "kd_select_share": (select != "all", "--kd-select batch or global"),
        "kd_queue_size": (select not in ("all", "batch"), "--kd-select global"),
        "kd_rest": (cfg.kd_top_k is not None or cfg.teacher_cache is not None, "--kd-top-k or a --teacher-cache"),
        "teacher_ahead": (cfg.teacher_process is not None, "--teacher-process"),
    }
    usual = {option.name: str(option.default) for option in fields(DistillationConfig)}
    return [
        f"--{name.replace('_', '-')} {value} has no effect without {needed}. Give that too, or leave it out"
        for name, (used, needed) in needs.items()
        if not used and str(value := getattr(cfg, name)) != usual[name]
    ]


def _check_hidden(cfg: Any) -> list[str]:
    weight, kind = cfg.kd_hidden_weight, str(cfg.kd_hidden)
    if not 0 < weight < float("inf"):
        return [f"--kd-hidden-weight {weight}: expected a number above 0"]
    if kind == "none":
        return [] if weight == 1 else [f"--kd-hidden-weight {weight} has no effect without --kd-hidden. Give that too"]
    problems = []
    if cfg.teacher_cache is not None:
        problems.append(f"--kd-hidden {kind}: a --teacher-cache has no hidden states. Give --teacher-path alone")
    if ":" in (cfg.teacher_path or ""):
        problems.append(f"--kd-hidden {kind} needs one teacher, but --teacher-path names several. Name one checkpoint")
    if 0 in (cfg.kd_weight, cfg.kd_weight_end):
        problems.append(f"--kd-hidden {kind} needs a --kd-weight above 0, because no teacher runs at 0")
    return problems


def _check_process(cfg: Any) -> list[str]:
    flag = f"--teacher-process {cfg.teacher_process}"
    if cfg.teacher_ahead < 1:
        return [f"--teacher-ahead {cfg.teacher_ahead}: expected 1 or more"]
    if cfg.teacher_process is None:
        return []
    try:
        kind = torch.device(cfg.teacher_process).type
    except RuntimeError:
        kind = "unknown"
    if kind not in ("cpu", "cuda"):
        return [f"{flag}: expected cpu, cuda or cuda:N"]
    if kind == "cuda" and not torch.cuda.is_available():
        return [f"{flag}: torch finds no GPU. Give cpu"]
    if cfg.teacher_cache is not None:
        return [f"{flag} has no effect with --teacher-cache, because no teacher runs. Leave it out"]
    if str(cfg.loss_form) == "plain":
        return [f"{flag} sends hidden states, which --loss-form plain does not use. Leave one of them out"]
    return []


def _check_weights(cfg: Any) -> list[str]:
    if cfg.teacher_weights is not None and cfg.teacher_cache is not None:
        return [
            f"--teacher-weights {cfg.teacher_weights} has no effect with --teacher-cache, which stores the teachers' "
            "mean. Give the weights to `lskd cache` instead"
        ]
    if cfg.teacher_path not in (None, NO_TEACHER) and not _names_pairs(cfg.teacher_path):
        try:
            read_mixture(cfg.teacher_weights, cfg.teacher_path)
        except UserError as error:
            return [str(error)]
    return []


def _names_pairs(value: str | None) -> bool:
    try:
        return by_pair(value) is not None
    except UserError:
        return True


def _check_pairs(cfg: Any) -> list[str]:
    problems = []
    for flag, value in (("--teacher-path", cfg.teacher_path), ("--teacher-cache", cfg.teacher_cache)):
        try:
            by_pair(value, flag)
        except UserError as error:
            problems.append(str(error))
    paths, caches = _names_pairs(cfg.teacher_path), _names_pairs(cfg.teacher_cache)
    threshold = cfg.kd_threshold
    if not paths and not caches:
        if threshold is not None and cfg.teacher_path != NO_TEACHER:
            problems.append(
                f"--kd-threshold {threshold} needs a teacher for each language pair. Give --teacher-path "
                "PAIR=PATH,PAIR=PATH, or leave it out"
            )
        return problems
    if cfg.teacher_path not in (None, NO_TEACHER) and cfg.teacher_cache is not None and paths != caches:
        problems.append(
            "--teacher-path and --teacher-cache: one names language pairs, the other does not. Name the same"
        )
    if cfg.teacher_weights is not None:
        problems.append(
            f"--teacher-weights {cfg.teacher_weights}: teachers of language pairs have equal weights. Leave it out"
        )
    if str(cfg.kd_hidden) != "none":
        problems.append(
            f"--kd-hidden {cfg.kd_hidden} needs one teacher, found teachers of language pairs. Leave it out"
        )
    if cfg.teacher_process is not None:
        problems.append(
            f"--teacher-process {cfg.teacher_process} runs one teacher, found teachers of language pairs. Leave it out"
        )
    if cfg.kd_iterations > 1:
        problems.append(
            f"--kd-iterations {cfg.kd_iterations}: teachers of language pairs cannot read the student's predictions, "
            "which may be language tokens. Leave it out"
        )
    if str(cfg.kd_select) in SELECTIONS and str(cfg.kd_select_by) in OF_TEACHER:
        problems.append(
            f"--kd-select-by {cfg.kd_select_by} needs one teacher, found teachers of language pairs. Use another value"
        )
    if threshold is None:
        return problems
    if not abs(threshold) <= 100:
        problems.append(f"--kd-threshold {threshold}: expected percentage points, from -100 to 100")
    if cfg.teacher_cache is not None:
        problems.append(
            f"--kd-threshold {threshold} compares student and teacher in validation, which a --teacher-cache does not "
            "have. Give --teacher-path alone"
        )
    if 0 in (cfg.kd_weight, cfg.kd_weight_end):
        problems.append(f"--kd-threshold {threshold} needs a --kd-weight above 0, because no teacher runs at 0")
    return problems


def _check_selection(cfg: Any) -> list[str]:
    by, side = str(cfg.kd_select_by), str(cfg.kd_select_side)
    if str(cfg.kd_select) == "all":
        flags = {"--kd-select-by": (by, "word_ce"), "--kd-select-side": (side, "high")}
        return [
            f"{flag} {value} has no effect without --kd-select. Give --kd-select batch or global too"
            for flag, (value, usual) in flags.items()
            if value != usual
        ]
    if by in OF_TEACHER and cfg.teacher_cache is not None:
        return [
            f"--kd-select-by {by} needs the teacher's whole distribution, and a --teacher-cache has only a part. Give "
            "--teacher-path alone"
        ]
    return []


def _check_schedule(cfg: Any) -> list[str]:
    kind, updates = str(cfg.kd_schedule), cfg.kd_schedule_updates
    ends = {"--kd-weight-end": cfg.kd_weight_end, "--kd-temperature-end": cfg.kd_temperature_end}
    given = [f"{flag} {value}" for flag, value in ends.items() if value is not None]
    if kind == "constant":
        given += [] if updates is None else [f"--kd-schedule-updates {updates}"]
        no_effect = f"{', '.join(given)} has no effect without --kd-schedule. Give --kd-schedule linear or cosine too"
        return [no_effect] if given else []
    problems = []
    if not given:
        problems.append(f"--kd-schedule {kind} has nothing to change. Give {' or '.join(ends)}")
    if updates is None:
        problems.append(f"--kd-schedule {kind} needs --kd-schedule-updates, its length in updates")
    elif updates < 1:
        problems.append(f"--kd-schedule-updates {updates}: expected 1 or more")
    if cfg.kd_temperature_end is not None and cfg.teacher_cache is not None:
        problems.append(
            f"--kd-temperature-end {cfg.kd_temperature_end}: a --teacher-cache has one temperature. Give "
            "--teacher-path alone, or leave --kd-temperature-end out"
        )
    return problems


def check_classes(cfg: Any, classes: int, source: str) -> list[str]:
    """Return the problems with options that need more types than `source` (the vocabulary or a cache) has."""
    flags = (("--kd-top-k", cfg.kd_top_k), ("--kd-ranking", cfg.kd_ranking))
    expected = f"expected at most {classes}, the number of types of {source}"
    problems = [f"{flag} {k}: {expected}" for flag, k in flags if k is not None and k > classes]
    if cfg.kd_top_k is not None and cfg.kd_ranking > cfg.kd_top_k:
        problems.append(f"--kd-ranking {cfg.kd_ranking}: expected at most --kd-top-k {cfg.kd_top_k}")
    return problems


def check_sampled(cfg: Any) -> list[str]:
    """Return the problems with options that a sampled cache does not support, one message each."""
    given = {
        "--kd-divergence": (str(cfg.kd_divergence), "forward_kl"),
        "--kd-top-k": (cfg.kd_top_k, None),
        "--kd-rest": (str(cfg.kd_rest), "class"),
        "--kd-ranking": (cfg.kd_ranking, 0),
    }
    return [
        f"{flag} {value}: --teacher-cache {cfg.teacher_cache} is a sampled cache, which supports only "
        f"--kd-divergence forward_kl over all types. Leave {flag} out, use a top-k cache (`lskd cache --top-k`), or "
        "give --teacher-path alone"
        for flag, (value, supported) in given.items()
        if value != supported
    ]


@contextlib.contextmanager
def explain_missing_files(*paths: str | None, overrides: str) -> Iterator[None]:
    """Add a way out to a `UserError` if a file that a trained student's checkpoint records no longer exists.

    fairseq-train gets none, because a student that it trains needs the files.

    Args:
        overrides: the value of --model-overrides with which fairseq-validate does not need the files.
    """
    try:
        yield
    except UserError as error:
        if running_command() in PROGRAMS or all(
            Path(part).exists() for path in paths if path for part in paths_in(path)
        ):
            raise
        raise UserError(
            f"{error}\n  If it was moved, give its new path. To validate a trained student without it: "
            f'fairseq-validate --task translation --model-overrides "{overrides}"'
        ) from None


def raise_for(problems: list[str]) -> None:
    """Raise one `UserError` that lists all `problems`; do nothing if there are none."""
    if problems:
        raise UserError("\n  ".join(["", *problems]) if len(problems) > 1 else problems[0])
