"""Check the validation options of a training before it starts: patience, metric, and validation sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from .commands import option, training_words
from .errors import UserError

#: Metrics for which larger values are better, metrics for which smaller values are better, and all logged metrics.
_LARGER, _SMALLER = ("bleu", "accuracy"), ("loss", "nll_loss", "ppl", "kd_loss")
_LOGGED = (*_SMALLER, *_LARGER, "entropy", "ece", "intra_class_variance")
_OUR_CRITERIONS = ("label_smoothed_teacher", "word_kd", "seq_kd")


def check_validation(command: Sequence[str]) -> None:
    """Check the validation options of a call of fairseq-train. Other commands are not checked.

    Raises:
        UserError: with all problems.
    """
    words = training_words(command)
    if words is None:
        return
    problems = _patience(words)
    if "--disable-validation" not in words:
        problems += _metric(words) or _references(words)
    if problems:
        raise UserError("; ".join(problems))


def _patience(words: Sequence[str]) -> list[str]:
    """Return the problems with --patience."""
    if (given := option(words, "--patience")) is None:
        return []
    try:
        patience = int(given)
    except ValueError:
        patience = 0
    if patience == 0:
        return [f"--patience {given}: expected a number of validations, 1 or more (or -1 for no patience)"]
    if patience < 0:
        return []
    without = "; to train without early stopping, give --patience -1 (scripts: after --, with the other options)"
    if "--disable-validation" in words:
        return [f"--patience {given} needs validations: leave out --disable-validation{without}"]
    budget = _number(words, "--max-update") or math.inf
    if (first := _number(words, "--validate-after-updates")) > budget:
        return [
            f"--patience {given} has no effect: the first validation (--validate-after-updates {first:g}) comes after "
            f"--max-update {budget:g}. Validate earlier{without}"
        ]
    # fairseq validates whenever it saves within an epoch. An epoch has at least one update.
    flags = ("--save-interval-updates", "--validate-interval-updates")
    intervals = {flag: interval for flag in flags if (interval := _number(words, flag)) > 0}
    epochs = _number(words, "--validate-interval", 1)
    if epochs <= 1 or min([*intervals.values(), *([] if intervals else [epochs])]) <= budget:
        return []
    said = " ".join(f"{flag} {interval:g}" for flag, interval in intervals.items())
    said = said or f"--validate-interval {epochs:g} (epochs)"
    return [
        f"--patience {given} has no effect: the first validation ({said}) comes after --max-update {budget:g}. "
        f"Validate more often{without}"
    ]


def _metric(words: Sequence[str]) -> list[str]:
    """Return the problems with --best-checkpoint-metric. fairseq finds them at the first validation only."""
    metric, flag = option(words, "--best-checkpoint-metric") or "loss", "--maximize-best-checkpoint-metric"
    if metric == "bleu" and "--eval-bleu" not in words:
        return ["--best-checkpoint-metric bleu needs --eval-bleu, which computes BLEU in validation: add it"]
    # Other criterions may log any metric.
    if option(words, "--criterion") in _OUR_CRITERIONS and metric not in _LOGGED:
        return [f"--best-checkpoint-metric {metric} is not logged; expected one of {', '.join(_LOGGED)}"]
    if metric in _LARGER and flag not in words:
        return [f"--best-checkpoint-metric {metric} needs {flag}, as larger values are better: add it"]
    if metric in _SMALLER and flag in words:
        return [f"--best-checkpoint-metric {metric} with {flag}: smaller values are better; leave out {flag}"]
    return []


def _references(words: Sequence[str]) -> list[str]:
    """Return the problems with the validation sets of fairseq's task translation: missing files of either side."""
    if not words or words[0].startswith("-"):
        return []
    data = Path(words[0].split(":")[0])
    source = option(words, "-s") or option(words, "--source-lang")
    target = option(words, "-t") or option(words, "--target-lang")
    ours = (option(words, "--task") or "translation") == "translation"
    if not (ours and source and target and any(data.glob("train.*"))):
        return []  # fairseq reports missing data itself, and other tasks have other files
    problems = []
    for split in (option(words, "--valid-subset") or "valid").split(","):
        pairs = (f"{source}-{target}", f"{target}-{source}")
        lacking = [[side for side in (source, target) if not _exists(data / f"{split}.{p}.{side}")] for p in pairs]
        if [] not in lacking:
            problem = "has no references" if [target] in lacking else "does not exist"
            name = f"{split}.{pairs[0]}.{target if [target] in lacking else source}"
            problems.append(
                f"{data}: the validation set {split!r} {problem} ({name}.idx is missing). Binarise it with the "
                "training data, choose another one with --valid-subset, or give --disable-validation --patience -1"
            )
    return problems


def _exists(prefix: Path) -> bool:
    """Return whether a side of a split exists, binarised or as text (--dataset-impl raw)."""
    return prefix.with_name(f"{prefix.name}.idx").is_file() or prefix.is_file()


def _number(words: Sequence[str], name: str, default: float = 0) -> float:
    """Return the value of an option; the default if it is missing or not a number, which fairseq reports."""
    try:
        return float(option(words, name) or default)
    except ValueError:
        return default
