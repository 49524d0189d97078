"""Tables and plots of training curves, from the logs of fairseq-train."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from ..extras import require
from ..files import write_beside
from ..records import logs
from ..records.result import COLUMNS, system_of
from .figures import save

#: Curves that are read (subset_metric), and their titles in plots. fairseq's losses are in bits per token.
CURVES = {
    **{"valid_ppl": COLUMNS["valid_ppl"].title, "valid_bleu": "validation BLEU (tokenised)"},
    **{name: COLUMNS[name].title for name in ("train_nll_loss", "train_kd_loss")},
}


class Row(NamedTuple):
    system: str
    update: int
    name: str
    value: float
    seed: int | None = None  #: None: unknown


def read_run(folder: Path) -> list[Row]:
    """Return the points of a training run, sorted: validations, and training losses per log line or else per epoch.

    Args:
        folder: folder of `lskd run` or fairseq-train with a log, or the log.

    Raises:
        UserError: if there is no log, or it has none of `CURVES`.
    """
    run = logs.read_run(folder)
    seed = run.labels["seed"]
    rows = [
        Row(run.name, update, name, value, int(seed) if str(seed).isdecimal() else None)
        for name in CURVES
        if (curve := run.curve(*name.split("_", 1)))
        for update, value in zip(curve.updates, curve.values, strict=True)
    ]
    if not rows:
        raise UserError(
            f"{folder}: found no validation and no training loss in {logs.logs_of(folder)[-1].name}; expected one of "
            f"{', '.join(CURVES)}"
        )
    return sorted(rows, key=lambda row: row[:4])


def read_runs(folders: Sequence[Path]) -> list[Row]:
    """Return the points of several runs, named by their folders, or by their paths if names are not unique."""
    rows = [read_run(folder) for folder in folders]
    if len({of[0].system for of in rows}) < len(set(folders)):
        rows = [[row._replace(system=str(folder)) for row in of] for folder, of in zip(folders, rows, strict=True)]
    return list(itertools.chain.from_iterable(rows))


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    with write_beside(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(rows)


def read_csv(path: Path) -> list[Row]:
    """Read the output of `write_csv`.

    Raises:
        UserError: if the file is something else.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [
                Row(row["system"], int(row["update"]), row["name"], float(row["value"]), _seed(row))
                for row in csv.DictReader(stream)
            ]
        if not rows:
            raise ValueError("it has no row")
        if unknown := sorted({row.name for row in rows} - CURVES.keys()):
            raise ValueError(f"the name {unknown[0]!r}, expected one of {', '.join(CURVES)}")
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        said = f"no column {error}" if isinstance(error, KeyError) else error
        raise UserError(f"--from {path}: {said}; expected the output of `lskd curves --csv`") from None
    return rows


def _seed(row: Mapping[str, str]) -> int | None:
    if "seed" in row:
        return int(row["seed"]) if row["seed"] else None
    # Older rows have the seed only in the name.
    mark = re.search(r"-s(\d+)$", row["system"])
    return int(mark[1]) if mark else None


def draw(rows: Sequence[Row], path: Path) -> None:
    """Plot one panel per metric and one line per run; runs of a system have one colour.

    Raises:
        UserError: if matplotlib is missing, or cannot write this type of file.
    """
    require("--plot", "matplotlib")
    from matplotlib import rc_context
    from matplotlib.ticker import LogLocator, NullFormatter

    from ..analysis import style

    names = [name for name in CURVES if any(row.name == name for row in rows)]
    groups = {row.system: system_of(row._asdict()) for row in rows}
    looks = {group: style.line(index) | {"marker": None} for index, group in enumerate(dict.fromkeys(groups.values()))}
    with rc_context(style.STYLE):
        figure = style.figure(4.2 * len(names) + 1.6, max(3.8, 0.25 * len(looks)))
        axes = figure.subplots(1, len(names), squeeze=False)
        for axis, name in zip(axes[0], names, strict=True):
            for system, group in groups.items():
                points = [(row.update, row.value) for row in rows if (row.system, row.name) == (system, name)]
                if points:
                    axis.plot(*zip(*points, strict=True), label=group, lw=1.2, **looks[group])
            axis.set_title(CURVES[name])
            axis.set_xlabel("updates")
            if not name.endswith("_bleu"):
                axis.set_yscale("log")
                axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
                axis.yaxis.set_major_formatter("{x:g}")
                axis.yaxis.set_minor_formatter(NullFormatter())
            axis.grid(which="both")
        found = (axis.get_legend_handles_labels() for axis in axes[0])
        once = {label: handle for each in found for handle, label in zip(*each, strict=True)}
        figure.legend(once.values(), once.keys(), fontsize=8, loc="outside right center")
        save(figure, path)
