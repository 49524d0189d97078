"""The result record of a run: scores, size, cost, and the whole story behind them."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from ..analysis.convergence import convergence, target_tokens, updates_of
from ..analysis.logs import Curve, Curves, epoch_means, logs_of, read_curves
from ..compat.versions import version_of
from ..data.tokenised import unknown_words
from ..errors import UserError
from ..files import sha256
from ..runs import read_record
from ..teachers.checkpoint import read_archive, read_checkpoint
from .facts import Budget, budget_of, described
from .lineage import compared_types, teachers_of
from .metrics import score_corpus
from .parameters import count_parameters
from .tokeniser import Chosen
from .validation import divergence_from_truth, read_validation

PACKAGES = ("fairseq", "torch", "sacrebleu", "sentencepiece", "numpy")


def make_record(
    run: Path,
    checkpoint: Path,
    hypotheses: list[str],
    references: list[list[str]],
    metrics: tuple[str, ...] = ("bleu", "chrf"),
    validation: Path | None = None,
    truth: Path | None = None,
    pieces: Path | None = None,
    chosen: Chosen | None = None,
) -> dict[str, Any]:
    """The record of a run that `lskd run` recorded.

    Args:
        run: its folder.
        references: one or more of the test set, each of as many lines as there are hypotheses.
        validation: what fairseq-validate printed.
        truth: the truth.json of a generated bitext; needs `validation`, and `pieces`, the validated target in pieces.
        chosen: BLEU's tokeniser; None is that of the references' script.

    Raises:
        UserError: if a file is missing, or not what it should be, or the run's labels contradict the checkpoint.
    """
    made = read_record(run)
    # Every record has all of these, null where they do not apply.
    result: dict[str, Any] = {"system": run.name}
    result |= dict.fromkeys(("role", "method", "teacher_smoothing", "temperature")) | described(
        checkpoint, made["labels"]
    )
    result["parameters"] = count_parameters(read_archive(checkpoint)["model"])
    result |= score_corpus(hypotheses, *references, metrics=metrics, chosen=chosen)
    if empty := sum(not line.strip() for line in hypotheses):
        result["empty_hypotheses"] = empty
    if unknown := len(unknown_words(hypotheses)):
        result["unknown_hypotheses"] = unknown
    if validation:
        stats = read_validation(validation)
        # fairseq logs nll_loss to three digits: that is good for two here.
        result["valid_ppl"] = round(2 ** stats["nll_loss"], 2)
        result |= {f"valid_{key}": stats[key] for key in ("accuracy", "entropy", "ece") if key in stats}
        if truth:
            if pieces is None:
                raise UserError("--truth needs --validation and --pieces, which it is compared with")
            result["kl_to_truth"] = round(divergence_from_truth(stats["nll_loss"], pieces, truth), 2)
    curves = _curves(run)
    result |= last_training(curves)
    result |= course(curves, budget_of(read_checkpoint(checkpoint)["cfg"]))
    if (types := compared_types(made["command"])) is not None:
        result["kd_top_k"] = types
    # Those of a training that was killed, or is going on, are not all yet.
    result["train_seconds"] = made["seconds"] if made["finished"] else None
    result["command"] = made["command"]
    result["teacher_sha256"] = teachers_of(made) or None
    result["checkpoint_sha256"] = sha256(checkpoint)
    result["versions"] = {"python": platform.python_version(), **{p: version_of(p) for p in PACKAGES}}
    return result


def _curves(run: Path) -> Curves:
    """Those of a training; none of a run of something else."""
    try:
        return read_curves(logs_of(run))
    except UserError:
        return {}


def last_training(curves: Curves) -> dict[str, float]:
    """The losses of the last epoch of a training, in fairseq's units; nothing where there are none.

    `train_kd_loss` is the training distillation loss, of the criterions that have one.
    """
    means = {f"train_{metric}": epoch_means(curves, metric) for metric in ("nll_loss", "kd_loss")}
    return {name: curve.values[-1] for name, curve in means.items() if curve}


def course(curves: Curves, budget: Budget) -> dict[str, Any]:
    """How long a training was, how long it might have been, and whether it had stopped improving.

    Nothing where there are no curves.
    """
    if not curves:
        return {}
    updates = updates_of(curves)
    found = convergence(curves.get((budget.subset, budget.metric), Curve()), updates, budget.maximize)
    return {
        "updates": updates,
        "target_tokens": target_tokens(curves),
        "max_updates": budget.max_updates,
        "patience": budget.patience,
        "validation_metric": budget.metric,
        "validation_interval": found.interval,
        "validation_best": found.best,
        "last_fifth_gain": None if found.gain is None else round(found.gain, 4),
        "converged": found.converged,
    }
