"""Training and validation curves in the logs that fairseq-train prints, `--log-format json` or `simple`.

A resumed training has several logs, which `lskd run` keeps as log.txt.1, log.txt.2 and so on, the last as log.txt. It
goes on from a checkpoint, so its log may take up at an earlier update than the one before it reached: what is
logged later for the same updates counts.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..commands import option, trains
from ..errors import UserError
from ..files import find
from ..reading import parse_json
from ..runs import RECORD, labels_of, read_record
from .training import Training, method_of

#: fairseq's logger, and Hydra's under fairseq-hydra-train: the name of the subset, and what is said of it.
_LINES = (
    re.compile(r"\| INFO \| (?P<subset>[^|]+?) \| (?P<said>.*)$"),
    re.compile(r"\]\[(?P<subset>[^\]]+)\]\[INFO\] - (?P<said>.*)$"),
)
#: In the middle of an epoch, `--log-format simple`: "epoch 001:    100 / 1000 loss=9.1, ppl=549.2, num_updates=100".
_INNER = re.compile(r"^epoch \d+.*?: +\d+ / \d+ (?P<stats>\S.*)$")
#: At its end: "epoch 001 | valid on 'valid' subset | loss 5.1 | num_updates 100".
_STAT = re.compile(r"^(?P<name>\w+) (?P<value>\S+)$")

LOG = "log.txt"


@dataclass
class Curve:
    """A metric against the number of updates, which grows from point to point."""

    updates: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, update: int, value: float) -> None:
        """Append a point, in place of those of a training that was taken up again before it."""
        while self.updates and self.updates[-1] >= update:
            self.updates.pop()
            self.values.pop()
        self.updates.append(update)
        self.values.append(value)


#: (subset, metric) -> curve. Subsets: train (every few updates), train_epoch (means of an epoch), valid, ...
Curves = dict[tuple[str, str], Curve]


@dataclass(frozen=True)
class Run:
    """A training: its curves, and what is known of it."""

    name: str
    curves: Curves
    labels: dict[str, Any]  #: facts and labels, role, method, teacher_smoothing, temperature and seed at least
    folder: Path = Path()
    command: tuple[str, ...] = ()  #: that of the run, if it is known

    def curve(self, subset: str, metric: str) -> Curve | None:
        """One of the curves; for training, that of whole epochs where there is no finer one."""
        found = self.curves.get((subset, metric))
        return self.curves.get(("train_epoch", metric)) if found is None and subset == "train" else found


def read_curves(paths: Sequence[Path]) -> Curves:
    """The curves in the logs of one training, in the order in which they were written.

    Raises:
        UserError: if a file cannot be read, or there is no statistic of a training in any.
    """
    curves: Curves = {}
    first = ""
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
        first = first or text.strip().partition("\n")[0]
        for subset, stats in _statistics(text):
            update = int(stats.pop("num_updates"))
            for metric, value in stats.items():
                curves.setdefault((subset, metric), Curve()).add(update, value)
    if not curves:
        found = f"which begins with {first[:60]!r}" if first else "which is empty"
        raise UserError(
            f"{', '.join(map(str, paths))}: expected a log of fairseq-train (--log-format json or simple), found no "
            f"statistics of a training in the file, {found}"
        )
    return curves


def epoch_means(curves: Curves, metric: str) -> Curve | None:
    """The mean of a training loss in each epoch, per token, from the points that were logged within it.

    A point counts for the epoch that it was logged in, at whose last update the mean stands. fairseq's own means
    ("train_epoch") are taken where nothing was logged within. They are not the first choice: at the end of an epoch
    fairseq writes a checkpoint before it resets them, so those of a training resumed there run over two epochs.
    """
    epochs = curves.get(("train_epoch", metric))
    points = curves.get(("train", metric))
    if points is None:
        return epochs
    ends = [*(epochs.updates if epochs else []), points.updates[-1]]
    tokens = curves.get(("train", "wpb"), Curve())  # of an update, the mean since the point before
    weights = dict(zip(tokens.updates, tokens.values, strict=True))
    sums: dict[int, tuple[float, float]] = {}
    for update, value in zip(points.updates, points.values, strict=True):
        end = ends[bisect_left(ends, update, hi=len(ends) - 1)]
        weight = weights.get(update, 1.0)
        total, count = sums.get(end, (0.0, 0.0))
        sums[end] = total + weight * value, count + weight
    # fairseq's have three digits.
    return Curve(list(sums), [round(total / count, 3) for total, count in sums.values()])


def _statistics(text: str) -> Iterator[tuple[str, dict[str, float]]]:
    """The subset and statistics in every line that has some, num_updates among them; garbled lines are passed over."""
    for line in text.splitlines():
        match = next(filter(None, (pattern.search(line) for pattern in _LINES)), None)
        if match is None:
            continue
        subset, said = match["subset"], match["said"]
        if found := _numbers(_raw(subset, said)):
            yield {"train_inner": "train", "train": "train_epoch"}.get(subset, subset), found


def _raw(subset: str, said: str) -> dict[str, Any]:
    if said.startswith("{"):
        try:
            stats = parse_json(said)
        except ValueError:
            return {}
        return {name.removeprefix(f"{subset}_"): value for name, value in stats.items()}
    if inner := _INNER.match(said):
        return dict(pair.split("=", 1) for pair in inner["stats"].split(", ") if "=" in pair)
    if said.startswith("epoch "):
        return {stat["name"]: stat["value"] for part in said.split(" | ")[1:] if (stat := _STAT.match(part.strip()))}
    return {}


def _numbers(stats: dict[str, Any]) -> dict[str, float]:
    """Those that are numbers, NaN included; nothing if there is no number of updates."""
    found = {}
    for name, value in stats.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        found[name] = number
    return found if 0 <= found.get("num_updates", math.nan) < 2**63 else {}


def logs_of(path: Path) -> list[Path]:
    """The logs of a run, oldest first: log.txt.1, log.txt.2, ..., log.txt.

    Args:
        path: the run's folder, or its (last) log. In a folder without log.txt, that of a plain fairseq-train, the logs
            are those of its text files (.log, .txt, .out) that have statistics of a training, by their age.

    Raises:
        UserError: if there is none.
    """
    log = path / LOG if path.is_dir() else path
    earlier = [
        (int(found.suffix[1:]), found) for found in log.parent.glob(f"{log.name}.*") if found.suffix[1:].isdigit()
    ]
    found = [each for _, each in sorted(earlier)] + [log] * log.is_file()
    if not found and path.is_dir():
        texts = [each for each in path.iterdir() if each.suffix in (".log", ".txt", ".out") and each.is_file()]
        found = sorted(filter(_has_statistics, texts), key=lambda each: (each.stat().st_mtime, each.name))
    if not found:
        raise UserError(f"{path}: no log there, expected the folder of a run with {LOG}, or the log of fairseq-train")
    return found


def _has_statistics(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            return any(next(_statistics(line), None) is not None for line in lines)
    except OSError:
        return False


def read_run(path: Path) -> Run:
    """A training from its folder, or from its log alone, of which less is known.

    Raises:
        UserError: as `logs_of` and `read_curves` do, or if there is a run.json that `lskd run` has not written.
    """
    logs = logs_of(path)
    folder = logs[-1].parent
    facts: dict[str, Any] = dict.fromkeys(("role", "method", "teacher_smoothing", "temperature", "seed"))
    command: tuple[str, ...] = ()
    if (folder / RECORD).is_file() and logs[-1].name == LOG:
        made = read_record(folder, whole=False)
        command = tuple(made["command"])
        training = Training.from_json(made.get("training"))
        # Of one that has not ended, or that an older version recorded, its command and labels tell.
        facts |= _by_command(command) | labels_of(command, made["labels"]) if training is None else training.described()
        facts["seed"] = option(command, "--seed")
    name = folder.resolve().name if logs[-1].name == LOG else path.stem
    return Run(name, read_curves(logs), facts, folder, command)


def _by_command(command: Sequence[str]) -> dict[str, Any]:
    beside = any(option(command, name) for name in ("--teacher-path", "--teacher-cache"))
    return {"method": method_of(option(command, "--criterion"), beside)}


def find_runs(folder: Path) -> list[Path]:
    """The folders at or under `folder` in which `lskd run` trained a model, in order of their names.

    Raises:
        UserError: if `folder` is none, or there is none in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    records = [path.parent for path in find(folder, RECORD) if trains(_command(path.parent)) is not None]
    found = [path for path in records if (path / LOG).is_file()]
    if not found:
        raise UserError(f"{folder}: no run of fairseq-train in there, expected folders with {RECORD} and {LOG}")
    return found


def _command(folder: Path) -> list[str]:
    command: list[str] = read_record(folder, whole=False)["command"]
    if not command:
        raise UserError(f"{folder / RECORD}: expected a record of `lskd run`, with the run's command, which is empty")
    return command
