"""Build the result record of a run: scores, size, cost and provenance."""

from __future__ import annotations

import platform
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fairseq  # noqa: F401  lets the compat layer allow-list the classes in fairseq's checkpoints

from ..commands import option, training_words
from ..compat.versions import version_of
from ..data.tokenised import unknown_words
from ..errors import UserError
from ..files import sha256
from ..records.derive import Options, training_of
from ..records.result import Result
from ..records.training import Training
from ..runs import RECORD, read_record
from ..teachers.checkpoint import read_archive
from ..teachers.compatibility import languages_of
from .metrics import score_corpus
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
    pair: str | None = None,
    labels: dict[str, Any] | None = None,
    digest: str | None = None,
) -> Result:
    """Return the record of a run of `lskd run`, or of a folder of plain fairseq-train with its checkpoint.

    Args:
        run: the run's folder.
        references: one or more references of the test set, with one line per hypothesis.
        validation: output of fairseq-validate.
        truth: truth.json of a generated bitext; needs `validation` and `pieces`.
        pieces: target side of the validation set in pieces.
        chosen: tokeniser for BLEU (default: chosen by the references' script).
        pair: language pair of the test set, such as de-en. The record of a multilingual model is of this pair: its
            system is RUN-PAIR, and its teachers are those of the pair.
        labels: labels of a training by plain fairseq-train.
        digest: the checkpoint's SHA-256, if it is known.

    Raises:
        UserError: if a file is missing or invalid, the run's labels contradict the checkpoint, the checkpoint
            is of another run or of the opposite direction, or the pair of a multilingual model is missing.
    """
    made = _made(run, checkpoint, labels or {})
    state = read_archive(checkpoint)
    training = training_of(checkpoint, run, labels=labels or None, state=state)
    training.check_labels(checkpoint)
    if not training.pairs:
        _check_direction(checkpoint, Options(state), pair)
    elif pair is None:
        raise UserError(f"{run} was trained on {', '.join(training.pairs)}: name the pair of the test set with -l")
    result: dict[str, Any] = {"system": run.name, **training.described(), **({"pair": pair} if pair else {})}
    result["parameters"] = training.parameters
    result |= score_corpus(hypotheses, *references, metrics=metrics, chosen=chosen)
    if empty := sum(not line.strip() for line in hypotheses):
        result["empty_hypotheses"] = empty
    if unknown := len(unknown_words(hypotheses)):
        result["unknown_hypotheses"] = unknown
    if validation:
        stats = read_validation(validation)
        # fairseq logs nll_loss with three decimals, which gives two here.
        result["valid_ppl"] = round(2 ** stats["nll_loss"], 2)
        result |= {f"valid_{key}": stats[key] for key in ("accuracy", "entropy", "ece") if key in stats}
        if truth:
            if pieces is None:
                raise UserError("--truth needs --pieces, found none")
            result["kl_to_truth"] = round(divergence_from_truth(stats["nll_loss"], pieces, truth), 2)
    result |= training.course or _limits(training)
    kept = {name: getattr(training, name) for name in ("kd_top_k", "cache_bytes")}
    result |= {name: value for name, value in kept.items() if value is not None}
    result["train_seconds"] = training.seconds
    result["command"] = made["command"]
    teachers = [each.sha256 for each in training.teachers]
    if training.pairs:
        suffix = f"-s{training.seed}"
        result["system"] = f"{run.name.removesuffix(suffix)}-{pair}" + suffix * run.name.endswith(suffix)
        teachers = training.pairs.get(str(pair), [])
    result["teacher_sha256"] = teachers or None
    result["checkpoint_sha256"] = digest or sha256(checkpoint)
    result["versions"] = {"python": platform.python_version(), **{p: version_of(p) for p in PACKAGES}}
    return Result.from_row(result)


def _limits(training: Training) -> dict[str, Any]:
    """Return the limits in the checkpoint of a training without a log."""
    found = {} if training.budget is None else training.budget._asdict()
    return {name: limit for name in ("max_updates", "patience") if (limit := found.get(name)) is not None}


def _made(run: Path, checkpoint: Path, labels: dict[str, Any]) -> dict[str, Any]:
    """Return the run.json of a run; without a command for a folder of plain fairseq-train, which has none."""
    folder = checkpoint.resolve().parent
    if (run / RECORD).exists():
        made = read_record(run)
        saved = _saved(made["command"])
        places = [run.resolve(), *([saved.resolve()] if saved else [])]
        if folder not in places and (folder / RECORD).exists():
            raise UserError(
                f"--checkpoint {checkpoint} is of another run than --run {run}: give --run {checkpoint.parent}"
            )
        # A checkpoint in the run's folder may be a link to another disk.
        found = folder, checkpoint.parent.resolve()
        if saved and not any(each.is_relative_to(place) for each in found for place in places):
            raise UserError(
                f"--checkpoint {checkpoint} is not in --run {run}{'' if places[0] == places[1] else f' or {saved}'}, "
                f"where that run saved its checkpoints. If it is of another training, give --run {checkpoint.parent}. "
                f"If it is of this run, move it to {run}"
            )
        if labels:
            raise UserError(
                f"--label {', '.join(labels)}: {run} has a {RECORD} with the labels of its run. Give the label to "
                "`lskd run` with the same command: it does not train again, it only rewrites the labels"
            )
        return made
    if folder != run.resolve():
        raise UserError(
            f"{run} has no {RECORD}, which `lskd run` writes. To record a training by plain fairseq-train, give its "
            f"--save-dir as --run, and a --checkpoint in it; found {checkpoint}"
        )
    return {"command": None}


def _saved(command: Sequence[str]) -> Path | None:
    """Return the folder where a command saves checkpoints; None if the command does not tell."""
    if (given := option(command, "--save-dir")) is not None:
        return Path(given)
    return None if training_words(command) is None else Path("checkpoints")  # fairseq's default


def _check_direction(checkpoint: Path, recorded: Options, pair: str | None) -> None:
    """Refuse a test set of the direction opposite to the checkpoint's, if that is known."""
    found = {name: recorded("task", name) for name in ("data", "source_lang", "target_lang")}
    options = Namespace(**{name: value for name, value in found.items() if isinstance(value, str)})
    source, target = languages_of(options) or ("", "")
    if source != target and pair == f"{target}-{source}":
        raise UserError(f"-l {pair}: {checkpoint} translates {source}-{target}; expected -l {source}-{target}")
