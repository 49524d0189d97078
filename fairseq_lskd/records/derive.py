"""Derive the record of a training run from its checkpoint and the manifests of its inputs."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..commands import number, option
from ..errors import UserError
from ..files import sha256
from ..reading import read_value
from ..runs import RECORD, read_record
from ..sequences.manifest import MANIFEST as SELECTED
from ..sequences.manifest import translators
from ..teachers.checkpoint import read_archive
from ..teachers.languages import pairs_of
from ..teachers.of_pairs import NONE, by_pair, paths_in
from .convergence import convergence, target_tokens, updates_of
from .logs import Curve, Curves, epoch_means, logs_of, read_curves
from .parameters import count_parameters
from .training import OF_FAIRSEQ, Budget, Teacher, Training, method_of

CACHE, BINARISED = "cache.json", "binarise.json"
#: Fields of a training that are read from manifests, besides its teachers.
_OF_FILES = ("pairs", "kd_top_k", "cache_bytes", "strategy", "score_temperature", "data", "cache", "translations")


def training_of(
    checkpoint: str | Path,
    folder: Path | None = None,
    say: bool = False,
    labels: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
) -> Training:
    """Return how a checkpoint was trained.

    Args:
        folder: folder of the training run (default: the checkpoint's). Its run.json and logs are read if they exist.
        say: whether to warn on stderr about teachers whose checkpoint cannot be found.
        labels: labels of the run (default: those in its run.json).
        state: the checkpoint's content, if `read_archive` has read it before.

    Raises:
        UserError: if the checkpoint cannot be read.
    """
    checkpoint = Path(checkpoint)
    folder = checkpoint.parent if folder is None else folder
    state = read_archive(checkpoint) if state is None else state
    options, made = Options(state), _made(folder)
    name, teacher_path = options("criterion", "_name"), options("criterion", "teacher_path")
    caches, selected = _caches(options("criterion", "teacher_cache")), _selected(options)
    cache = caches[0] if caches else None
    found: dict[str, Any] = {}
    beside = cache is not None or teacher_path not in (None, "none")
    method = method_of(name, beside)
    labels = made["labels"] if labels is None else labels
    if method == "none" and selected:
        method = "sequence"
    elif name in OF_FAIRSEQ and labels.get("method") is not None:
        method = None  # The data may be a teacher's translations that were made elsewhere. Only the label knows.
    taught = method not in (None, "none")
    if taught:
        # Hydra keeps 2 where a flag gives 2.0, and systems that differ in this would not be compared.
        found["reference_weight"] = number(options("criterion", "reference_weight"))
        if beside and method != "sequence":
            sampled = bool(_value(cache, CACHE, "options", "--sampled"))
            kept = None if sampled else _value(cache, CACHE, "options", "--top-k")
            top_k = min(filter(None, map(_count, (options("criterion", "kd_top_k"), kept))), default=None)
            found |= {"cached": cache is not None, "kd_top_k": top_k}
            found["cache_bytes"] = _count(_value(cache, CACHE, "bytes_per_token")) if sampled else None
            names = {"temperature": "kd_temperature", "kd_weight": "kd_weight"}
            found |= {field: number(options("criterion", of)) for field, of in names.items()}
            found |= {"divergence": options("criterion", "kd_divergence"), "kd_rest": options("criterion", "kd_rest")}
    if method in ("sequence", "both"):
        names = {"strategy": "strategy", "score_temperature": "score-temperature"}
        found |= {field: _value(selected, SELECTED, "options", of) for field, of in names.items()}
    curves, budget = _curves(folder), budget_of(options)
    before = Training.from_json(made.get("training")) or Training()
    smoothing = 0.0 if name == "cross_entropy" else number(options("criterion", "label_smoothing"))
    training = Training(
        criterion=name,
        role=labels.get("role") or ("student" if taught else None),
        method=method,
        seed=options("common", "seed"),
        label_smoothing=smoothing,
        teachers=_teachers(before.teachers, _paths(teacher_path), made, caches, selected, say) if taught else (),
        arch=options("model", "_name"),
        parameters=count_parameters(state["model"]),
        budget=budget,
        course={**losses(curves), **course(curves, budget)},
        # The seconds of a run that is unfinished are incomplete.
        seconds=made["seconds"] if made["finished"] else None,
        pairs=_pairs(options, made),
        data=_data(options, selected),
        cache=_digest(cache, CACHE),
        translations=_digest(selected, SELECTED),
        labels=dict(labels),
        **found,
    )
    # Files that were read at the end of the training may be gone by now, or be others.
    return replace(training, **{name: value for name in _OF_FILES if (value := getattr(before, name))})


def teachers_of(options: Options) -> tuple[Teacher, ...]:
    """Return the teachers to which the options of a training lead, before it has a checkpoint."""
    beside, caches = _paths(options("criterion", "teacher_path")), _caches(options("criterion", "teacher_cache"))
    return _teachers((), beside, {"inputs": {}}, caches, _selected(options), say=False)


def describe(folder: Path, made: dict[str, Any]) -> None:
    """Add the record of a finished training run to its run.json, `made`, under the key `training`.

    Raises:
        UserError: if a label contradicts the checkpoint.
    """
    saved = Path(option(made["command"], "--save-dir") or folder)
    checkpoint = next((path for name in ("last", "best") if (path := saved / f"checkpoint_{name}.pt").is_file()), None)
    if checkpoint is None:  # --no-save
        return
    try:
        training = training_of(checkpoint, folder, say=True)
    except UserError as error:
        print(f"warning: only the command of this training is recorded: {error}", file=sys.stderr)
        return
    training.check_labels(checkpoint)
    made["training"] = training.to_json()


class Options:
    """The options saved in a checkpoint, as returned by `read_archive`.

    Present versions of fairseq save them by section under "cfg", old ones as a flat namespace under "args".
    """

    def __init__(self, archive: Mapping[str, Any]):
        self._old: Any = archive.get("args")
        self._cfg: Any = archive.get("cfg")

    def __call__(self, section: str, name: str) -> Any:
        """Return the value of an option, or None if it is missing or cannot be resolved."""
        try:
            if self._old is not None:
                return getattr(self._old, {"model": "arch"}.get(section, section) if name == "_name" else name)
            options = self._cfg.get(section)
            value = options.get(name) if hasattr(options, "get") else getattr(options, name)
        except Exception:  # OmegaConf raises its own types, and the file may hold anything
            return None
        return getattr(value, "value", value)  # the value of an enumeration's member


def budget_of(options: Options) -> Budget:
    """Return the limits of a training run from its options, with fairseq's defaults for missing ones."""
    metric, subset = options("checkpoint", "best_checkpoint_metric"), options("dataset", "valid_subset")
    return Budget(
        _count(options("optimization", "max_update")),
        _count(options("checkpoint", "patience")),
        metric if isinstance(metric, str) else "loss",
        options("checkpoint", "maximize_best_checkpoint_metric") is True,
        # fairseq selects checkpoints on the first of several validation sets.
        subset.split(",")[0] if isinstance(subset, str) else "valid",
    )


def losses(curves: Curves) -> dict[str, float]:
    """Return the training losses of the last epoch in fairseq's units, as far as they were logged.

    `train_kd_loss` is the distillation loss, for criterions that have one.
    """
    means = {f"train_{metric}": epoch_means(curves, metric) for metric in ("nll_loss", "kd_loss")}
    return {name: curve.values[-1] for name, curve in means.items() if curve}


def course(curves: Curves, budget: Budget) -> dict[str, Any]:
    """Return the length of a training run, its limits, and whether it had stopped improving; {} without curves."""
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


def _teachers(
    recorded: tuple[Teacher, ...],
    beside: list[str],
    made: Mapping[str, Any],
    caches: list[Path],
    selected: Path | None,
    say: bool,
) -> tuple[Teacher, ...]:
    """Return the teachers that were recorded, or else all that are found.

    These are those run with the student (`beside`), the caches', and those that translated.
    """
    known = {each.sha256: each.training for each in recorded}
    digests = set(known)
    if not digests:
        digests = {digest for path in beside if (digest := made["inputs"].get(path) or _digest(Path(path)))}
        digests |= {digest for cache in caches for digest in _digests(_value(cache, CACHE, "teachers"))}
        digests |= translators(selected) if selected else set()
    translated = _value(selected, SELECTED, "translations")
    translated = translated if isinstance(translated, dict) else {}
    # Older manifests have the path only in the command.
    translator = translated.get("teacher_path") or option(translated.get("command") or (), "--teacher-path")
    cached = (path for cache in caches for path in _paths(_value(cache, CACHE, "teacher_path")))
    places = [*beside, *cached, *_paths(translator)]
    there = {} if all(map(known.get, digests)) else {_digest(Path(path)): path for path in places}
    found = {}
    for digest in sorted(digests):
        training = known.get(digest)
        if training is None:
            path = there.get(digest)
            try:
                training = training_of(path) if path else None
            except UserError as error:
                print(f"warning: {error}", file=sys.stderr)
            if training is None and say:
                where = f" at {', '.join(places)}" if places else ""
                print(
                    f"warning: a teacher's checkpoint (SHA-256 {digest[:12]}…) was not found{where}: only its digest "
                    "is recorded",
                    file=sys.stderr,
                )
        found[digest] = Teacher(digest, training)
    return tuple(found.values())


def _pairs(options: Options, made: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the language pairs of a multilingual training, each with the digests of its teachers as far as known."""
    listed = options("task", "lang_pairs")
    if not isinstance(listed, str | list | tuple):  # only multilingual tasks and their subclasses have this option
        return {}
    listed = listed if isinstance(listed, str) else ",".join(map(str, listed))
    found: dict[str, list[str]] = {pair: [] for pair in pairs_of(Namespace(lang_pairs=listed))}
    for flag in ("teacher_cache", "teacher_path"):
        for pair, path in _named(options("criterion", flag)).items():
            if flag == "teacher_cache":
                digests = _digests(_value(Path(path), CACHE, "teachers"))
            else:
                files = path.split(":")
                digests = {digest for file in files if (digest := made["inputs"].get(file) or _digest(Path(file)))}
            found[pair] = sorted(digests.union(found.get(pair, ())))
    return found


def _made(folder: Path) -> dict[str, Any]:
    """Return the run.json of a folder, or an empty one if there is none that `lskd run` wrote."""
    try:
        return read_record(folder, whole=False)
    except UserError:
        return {"command": [], "inputs": {}, "labels": {}, "seconds": None, "finished": None}


def _curves(folder: Path) -> Curves:
    """Return the curves of a recorded training run; {} if there are none."""
    try:
        return read_curves(logs_of(folder)) if (folder / RECORD).is_file() else {}
    except UserError:
        return {}


def _selected(options: Options) -> Path | None:
    """Return the folder of `lskd select` that has the training's sequence weights or data, if there is one."""
    weights, data = _folder(options("criterion", "sequence_weights")), _data_folder(options)
    folders = [path.parent for path in (weights, data) if path is not None]
    return next((folder for folder in folders if (folder / SELECTED).is_file()), None)


def _data_folder(options: Options) -> Path | None:
    data = options("task", "data")
    return _folder(data.split(":")[0]) if isinstance(data, str) and data else None


def _data(options: Options, selected: Path | None) -> dict[str, str]:
    """Return the SHA-256 of each binarised training file, from the manifest of the training data."""
    folder = _data_folder(options)
    if selected and folder and folder.parent == selected:
        found = _value(selected, SELECTED, "digests")
    else:
        found = _value(folder, BINARISED, "digests")
    files = found.items() if isinstance(found, dict) else ()
    names = ((Path(str(name)).name, digest) for name, digest in files)
    return {name: digest for name, digest in names if name.startswith("train.") and isinstance(digest, str)}


def _paths(given: Any) -> list[str]:
    try:
        return paths_in(given) if isinstance(given, str) and given != "none" else []
    except UserError:  # a checkpoint's options may have any value
        return []


def _caches(given: Any) -> list[Path]:
    """Return the folders in the value of --teacher-cache."""
    if named := _named(given):
        return [Path(path) for path in named.values()]
    return [Path(given)] if isinstance(given, str) else []


def _named(given: Any) -> dict[str, str]:
    """Return the path for each language pair in an option's value; {} if it has none."""
    try:
        named = by_pair(given) if isinstance(given, str) else None
    except UserError:  # a checkpoint's options may have any value
        return {}
    return {pair: path for pair, path in (named or {}).items() if path != NONE}


def _folder(given: Any) -> Path | None:
    return Path(given) if isinstance(given, str) else None


def _digest(path: Path | None, name: str = "") -> str | None:
    file = None if path is None else path / name
    return sha256(file) if file is not None and file.is_file() else None


def _digests(found: Any) -> set[str]:
    values = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return {each for each in values if isinstance(each, str)}


def _value(folder: Path | None, name: str, *keys: str) -> Any:
    """Return a value of a manifest; None if the folder was moved or deleted."""
    return read_value(folder / name, *keys) if folder else None


def _count(value: Any) -> int | None:
    """Return a positive integer, or None for other values, which mean no limit to fairseq."""
    return value if isinstance(value, int) and value > 0 else None
