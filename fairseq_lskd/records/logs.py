"""Training and validation curves from the logs of fairseq-train (`--log-format json` or `simple`).

A resumed training has several logs. `lskd run` keeps them as log.txt.1, log.txt.2 and so on; the last is log.txt. A log
may begin at an earlier update than the previous log ended, because training resumes from a checkpoint. The later
values then replace the earlier ones.
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

#: Lines of fairseq's logger, and of Hydra's under fairseq-hydra-train.
_LINES = (
    re.compile(r"\| INFO \| (?P<subset>[^|]+?) \| (?P<said>.*)$"),
    re.compile(r"\]\[(?P<subset>[^\]]+)\]\[INFO\] - (?P<said>.*)$"),
)
#: `--log-format simple` within an epoch: "epoch 001:    100 / 1000 loss=9.1, ppl=549.2, num_updates=100".
_INNER = re.compile(r"^epoch \d+.*?: +\d+ / \d+ (?P<stats>\S.*)$")
#: A statistic at the end of an epoch: "epoch 001 | valid on 'valid' subset | loss 5.1 | num_updates 100".
_STAT = re.compile(r"^(?P<name>\w+) (?P<value>\S+)$")

LOG = "log.txt"


@dataclass
class Curve:
    """The values of a metric at increasing numbers of updates."""

    updates: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, update: int, value: float) -> None:
        """Append a point. Remove points at the same or a later update, from before the training was resumed."""
        while self.updates and self.updates[-1] >= update:
            self.updates.pop()
            self.values.pop()
        self.updates.append(update)
        self.values.append(value)


#: (subset, metric) -> curve. Subsets: train (every few updates), train_epoch (means per epoch), valid, ...
Curves = dict[tuple[str, str], Curve]


@dataclass(frozen=True)
class Run:
    """A training run: its curves, labels and command."""

    name: str
    curves: Curves
    labels: dict[str, Any]  #: facts and labels, role, method, teacher_smoothing, temperature and seed at least
    folder: Path = Path()
    command: tuple[str, ...] = ()  #: empty if it is not known

    def curve(self, subset: str, metric: str) -> Curve | None:
        """Return a curve. For training, fall back to the means per epoch."""
        found = self.curves.get((subset, metric))
        return self.curves.get(("train_epoch", metric)) if found is None and subset == "train" else found


def read_curves(paths: Sequence[Path]) -> Curves:
    """Read the curves from the logs of one training, oldest log first.

    Raises:
        UserError: if a file cannot be read, or no file has statistics of a training.
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
            f"{', '.join(map(str, paths))}: found no training statistics in the file, {found}; expected a log of "
            "fairseq-train with --log-format json or simple"
        )
    return curves


def epoch_means(curves: Curves, metric: str) -> Curve | None:
    """Return the mean of a training loss per token for each epoch, at the epoch's last update.

    The mean is over the points logged within the epoch. If no points were logged, fairseq's own means ("train_epoch")
    are returned. They are the second choice because fairseq writes a checkpoint before it resets them at the end of an
    epoch: in a training resumed from that checkpoint they cover two epochs.
    """
    epochs = curves.get(("train_epoch", metric))
    points = curves.get(("train", metric))
    if points is None:
        return epochs
    ends = [*(epochs.updates if epochs else []), points.updates[-1]]
    tokens = curves.get(("train", "wpb"), Curve())  # mean number per update since the previous point
    weights = dict(zip(tokens.updates, tokens.values, strict=True))
    sums: dict[int, tuple[float, float]] = {}
    for update, value in zip(points.updates, points.values, strict=True):
        end = ends[bisect_left(ends, update, hi=len(ends) - 1)]
        weight = weights.get(update, 1.0)
        total, count = sums.get(end, (0.0, 0.0))
        sums[end] = total + weight * value, count + weight
    # fairseq's means have three decimals.
    return Curve(list(sums), [round(total / count, 3) for total, count in sums.values()])


def _statistics(text: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the subset and statistics of each line with num_updates; skip other lines."""
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
    """Return the statistics that are numbers, NaN included; {} without a valid num_updates."""
    found = {}
    for name, value in stats.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        found[name] = number
    return found if 0 <= found.get("num_updates", math.nan) < 2**63 else {}


def logs_of(path: Path) -> list[Path]:
    """Return the paths of a run's logs, oldest first: log.txt.1, log.txt.2, ..., log.txt.

    Args:
        path: the run's folder, or its last log. In a folder without log.txt, as plain fairseq-train leaves it, the
            logs are the text files (.log, .txt, .out) with statistics of a training, by modification time.

    Raises:
        UserError: if there is no log.
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
        raise UserError(f"{path}: found no log; expected a run's folder with {LOG}, or the log of fairseq-train")
    return found


def _has_statistics(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            return any(next(_statistics(line), None) is not None for line in lines)
    except OSError:
        return False


def read_run(path: Path) -> Run:
    """Read a training run from its folder, or from its log alone.

    Raises:
        UserError: as `logs_of` and `read_curves`, or if the folder has a run.json that `lskd run` did not write.
    """
    logs = logs_of(path)
    folder = logs[-1].parent
    facts: dict[str, Any] = dict.fromkeys(("role", "method", "teacher_smoothing", "temperature", "seed"))
    command: tuple[str, ...] = ()
    if (folder / RECORD).is_file() and logs[-1].name == LOG:
        made = read_record(folder, whole=False)
        command = tuple(made["command"])
        training = Training.from_json(made.get("training"))
        # A run that has not ended, or that an older version recorded, has no record: use its command and labels.
        facts |= _by_command(command) | labels_of(command, made["labels"]) if training is None else training.described()
        facts["seed"] = option(command, "--seed") or facts["seed"]
    name = path.stem if path.is_file() and path.name != LOG else folder.resolve().name
    return Run(name, read_curves(logs), facts, folder, command)


def _by_command(command: Sequence[str]) -> dict[str, Any]:
    beside = any(option(command, name) for name in ("--teacher-path", "--teacher-cache"))
    return {"method": method_of(option(command, "--criterion"), beside)}


def find_runs(folder: Path) -> list[Path]:
    """Return the folders at or under `folder` in which `lskd run` trained a model, sorted by name.

    Raises:
        UserError: if `folder` is not a folder, or has no such run.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    records = [path.parent for path in find(folder, RECORD) if trains(_command(path.parent)) is not None]
    found = [path for path in records if (path / LOG).is_file()]
    if not found:
        raise UserError(f"{folder}: found no run of fairseq-train; expected folders with {RECORD} and {LOG}")
    return found


def _command(folder: Path) -> list[str]:
    command: list[str] = read_record(folder, whole=False)["command"]
    if not command:
        raise UserError(f"{folder / RECORD}: the run's command is empty; expected a record of `lskd run`")
    return command
