"""How trainings went, from fairseq-train's logs."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..analysis.logs import LOG, logs_of, read_curves
from ..errors import UserError
from ..files import write_beside
from .figures import pyplot, save

#: What is kept of a log (subset_metric), and how a picture calls it. fairseq's losses: bits a token.
CURVES = {
    "valid_ppl": "validation perplexity",
    "valid_bleu": "validation BLEU (of tokens)",
    "train_nll_loss": "training NLL, bits",
    "train_kd_loss": "training distillation loss, bits",
}


class Row(NamedTuple):
    system: str
    update: int
    name: str
    value: float


def read_run(folder: Path) -> list[Row]:
    """The points of a training: validations, and losses as they were logged every few updates, else at ends of epochs.

    Args:
        folder: of `lskd run` or of plain fairseq-train, with its log; or the log.

    Raises:
        UserError: if there is no log, or it has no such points.
    """
    logs = logs_of(folder)
    curves = read_curves(logs)
    kept = {}
    for name in CURVES:
        subset, metric = name.split("_", 1)
        curve = curves.get((subset, metric))
        kept[name] = curves.get(("train_epoch", metric)) if subset == "train" and curve is None else curve
    system = _name(folder)
    rows = [
        Row(system, update, name, value)
        for name, curve in kept.items()
        if curve
        for update, value in zip(curve.updates, curve.values, strict=True)
    ]
    if not rows:
        raise UserError(f"{folder}: no validation in {logs[-1].name}, and no loss that can be drawn")
    return sorted(rows)


def _name(path: Path) -> str:
    """What a training is called: its folder, but for a log of another name."""
    if path.is_dir():
        return path.resolve().name
    return path.resolve().parent.name if path.name == LOG else path.stem


def read_runs(folders: Sequence[Path]) -> list[Row]:
    """The points of several trainings, called by their folders' names, or paths where these are the same."""
    rows = [read_run(folder) for folder in folders]
    if len({_name(folder) for folder in folders}) < len(set(folders)):
        rows = [[row._replace(system=str(folder)) for row in of] for folder, of in zip(folders, rows, strict=True)]
    return list(itertools.chain.from_iterable(rows))


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows under a heading."""
    with write_beside(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(rows)


def read_csv(path: Path) -> list[Row]:
    """What `write_csv` wrote; `UserError` if it is something else."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [
                Row(row["system"], int(row["update"]), row["name"], float(row["value"]))
                for row in csv.DictReader(stream)
            ]
        if not rows:
            raise ValueError("there is no row in it")
        if unknown := sorted({row.name for row in rows} - CURVES.keys()):
            raise ValueError(f"the name {unknown[0]!r}, expected one of {', '.join(CURVES)}")
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        said = f"no column {error}" if isinstance(error, KeyError) else error
        raise UserError(f"--from {path}: expected what `lskd curves --csv` writes ({said})") from None
    return rows


def draw(rows: Sequence[Row], path: Path) -> None:
    """A panel a curve, a line a system (seeds of a system in one colour).

    Raises:
        UserError: if matplotlib is missing, or cannot write such a file.
    """
    plt = pyplot()
    from matplotlib.ticker import LogLocator, NullFormatter

    names = [name for name in CURVES if any(row.name == name for row in rows)]
    systems = list(dict.fromkeys(row.system for row in rows))
    groups = list(dict.fromkeys(re.sub(r"-s\d+$", "", system) for system in systems))
    colours = plt.get_cmap("tab10" if len(groups) <= 10 else "tab20")
    size = (4.2 * len(names) + 1.6, max(3.8, 0.25 * len(groups)))
    figure, axes = plt.subplots(1, len(names), figsize=size, squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        for system in systems:
            points = [(row.update, row.value) for row in rows if (row.system, row.name) == (system, name)]
            group = re.sub(r"-s\d+$", "", system)
            if points:
                axis.plot(*zip(*points, strict=True), color=colours(groups.index(group)), label=group, lw=1.2)
        axis.set_title(CURVES[name], fontsize=9)
        axis.set_xlabel("update")
        if name in ("valid_ppl", "train_nll_loss", "train_kd_loss"):
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3, which="both")
    handles, labels = axes[0][0].get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(once.values(), once.keys(), fontsize=8, loc="outside right center")
    save(figure, path)
