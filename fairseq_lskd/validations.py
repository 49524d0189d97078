"""What a training is validated by: options that never come to anything are told before it starts, not by its end."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from .commands import option, trains
from .errors import UserError, exit_on_user_error

#: Metrics of which a larger value is a better one, a smaller one, and those of which it depends.
_LARGER, _SMALLER = ("bleu", "accuracy"), ("loss", "nll_loss", "ppl", "kd_loss")
_LOGGED = (*_SMALLER, *_LARGER, "entropy", "ece", "intra_class_variance")
_OURS = ("label_smoothed_teacher", "word_kd", "seq_kd")


def check_validation(command: Sequence[str]) -> None:
    """Refuse a call of fairseq-train whose patience or whose metric validation cannot serve; other commands pass.

    Raises:
        UserError: naming all options that are wrong.
    """
    start = trains(command)
    if start is None or Path(command[start]).name not in ("fairseq-train", "fairseq_cli.train"):  # Hydra's are no flags
        return
    words = list(command[start + 1 :])
    problems = _patience(words)
    if "--disable-validation" not in words:
        problems += _metric(words) or _references(words)
    if problems:
        raise UserError("; ".join(problems))


def _patience(words: Sequence[str]) -> list[str]:
    """What is wrong with --patience."""
    if (given := option(words, "--patience")) is None:
        return []
    try:
        patience = int(given)
    except ValueError:
        patience = 0
    if patience == 0:
        return [f"--patience {given}: expected a number of validations from 1 (or -1 for no patience)"]
    if patience < 0:
        return []
    without = "; for a training without patience, give --patience -1"
    if "--disable-validation" in words:
        return [f"--patience {given} counts validations, which --disable-validation leaves out: leave out one{without}"]
    budget = _number(words, "--max-update") or math.inf
    if (first := _number(words, "--validate-after-updates")) > budget:
        return [
            f"--patience {given} never counts a validation: --validate-after-updates {first:g} is above --max-update "
            f"{budget:g}{without}"
        ]
    # fairseq validates what it saves within an epoch. An epoch has an update at least.
    flags = ("--save-interval-updates", "--validate-interval-updates")
    intervals = {flag: interval for flag in flags if (interval := _number(words, flag)) > 0}
    epochs = _number(words, "--validate-interval", 1)
    if epochs <= 1 or min([*intervals.values(), *([] if intervals else [epochs])]) <= budget:
        return []
    said = " ".join(f"{flag} {interval:g}" for flag, interval in intervals.items())
    said = said or f"--validate-interval {epochs:g} (epochs)"
    return [
        f"--patience {given} never counts a validation: {said} is above --max-update {budget:g}. Validate more often"
        f"{without}"
    ]


def _metric(words: Sequence[str]) -> list[str]:
    """What is wrong with the metric that picks the best checkpoint; fairseq finds out at the first validation."""
    metric, flag = option(words, "--best-checkpoint-metric") or "loss", "--maximize-best-checkpoint-metric"
    if metric == "bleu" and "--eval-bleu" not in words:
        return ["--best-checkpoint-metric bleu: expected --eval-bleu too, without which no validation has a BLEU"]
    # A criterion of somebody else's may log anything.
    if option(words, "--criterion") in _OURS and metric not in _LOGGED:
        return [f"--best-checkpoint-metric {metric}: no validation has it; expected one of {', '.join(_LOGGED)}"]
    if metric in _LARGER and flag not in words:
        return [f"--best-checkpoint-metric {metric}: expected {flag} too, or the worst checkpoint is the best"]
    if metric in _SMALLER and flag in words:
        return [f"--best-checkpoint-metric {metric} with {flag}: the worst checkpoint would be the best; leave it out"]
    return []


def _references(words: Sequence[str]) -> list[str]:
    """What is missing of the validation sets, either side, where the task is fairseq's translation."""
    if not words or words[0].startswith("-"):
        return []
    data = Path(words[0].split(":")[0])
    source = option(words, "-s") or option(words, "--source-lang")
    target = option(words, "-t") or option(words, "--target-lang")
    ours = (option(words, "--task") or "translation") == "translation"
    if not (ours and source and target and any(data.glob("train.*"))):
        return []  # fairseq says what is missing, or knows what we do not
    problems = []
    for split in (option(words, "--valid-subset") or "valid").split(","):
        pairs = (f"{source}-{target}", f"{target}-{source}")
        lacking = [[side for side in (source, target) if not _is_there(data / f"{split}.{p}.{side}")] for p in pairs]
        if [] not in lacking:
            what = "has no references" if [target] in lacking else "is not there"
            name = f"{split}.{pairs[0]}.{target if [target] in lacking else source}"
            problems.append(
                f"{data}: the validation set {split!r} {what} ({name}.idx is missing), by which a training is judged. "
                "Binarise it with the training side, name another by --valid-subset, or give --disable-validation "
                "--patience -1"
            )
    return problems


def _is_there(prefix: Path) -> bool:
    """Whether a side of a split is: binarised, or the text itself (--dataset-impl raw)."""
    return prefix.with_name(f"{prefix.name}.idx").is_file() or prefix.is_file()


def _number(words: Sequence[str], name: str, default: float = 0) -> float:
    """What is given to an option; the default where it is not there, or no number, of which fairseq says so."""
    try:
        return float(option(words, name) or default)
    except ValueError:
        return default


if __name__ == "__main__":  # what scripts ask before the steps that come before a training
    with exit_on_user_error("fairseq-train"):
        check_validation(sys.argv[1:])
