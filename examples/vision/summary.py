"""Summarise the rows of all seeds as in the paper's Table 2 and Fig. 6, with claims."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from lessons import STUDENTS

from fairseq_lskd.analysis.document import Picture, Section, Table
from fairseq_lskd.analysis.intervals import t_interval, verdict
from fairseq_lskd.analysis.style import COLOURS, LINES, figure, styled

Rows = Sequence[dict[str, Any]]

NAMES = {"cnn": "small CNN", "binary": "binary network"}
#: Claim of the paper, kind of network, field, and whether smoothing raises the field according to the claim.
CLAIMS = (
    ("the smoothed teacher is more accurate", "teacher", "accuracy", True),
    ("smoothing erases information: 1 - S on validation images is lower", "teacher", "variance_valid", False),
    ("smoothing erases information: 1 - S on training images is lower", "teacher", "variance_train", False),
    *(
        (f"{NAMES[kind]}: the student of the smoothed teacher is more accurate", kind, "accuracy", True)
        for kind in STUDENTS
    ),
    *(
        (
            f"{NAMES[kind]}: the student of the smoothed teacher has a higher training KL to its teacher",
            kind,
            "loss",
            True,
        )
        for kind in STUDENTS
    ),
    *(
        (
            f"{NAMES[kind]}: the student of the smoothed teacher has a higher training cross-entropy",
            kind,
            "cross_entropy",
            True,
        )
        for kind in STUDENTS
    ),
)
DIGITS = {"accuracy": 2, "loss": 3, "cross_entropy": 3, "variance_valid": 4, "variance_train": 4, "entropy_train": 3}
#: Field of an epoch -> column in curves.csv.
EPOCH = {"loss": "training loss", "cross_entropy": "training cross-entropy", "accuracy": "accuracy"}
UNITS = {"accuracy": "accuracy, %", "loss": "training KL, nats",
         "cross_entropy": "training cross-entropy, nats", "variance_valid": "1 - S, validation images",
         "variance_train": "1 - S, training images", "entropy_train": "entropy on training images, nats"}  # fmt: skip


def _values(rows: Rows, kind: str, smoothing: float | None, field: str) -> list[float]:
    found = [row for row in rows if row["kind"] == kind and row["teacher_smoothing"] == smoothing]
    return [row[field] for row in sorted(found, key=lambda row: row["seed"])]


def _spread(values: Sequence[float], field: str) -> str:
    digits = DIGITS[field]
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def _unit(field: str, before: str = "") -> str:
    unit = "points" if field == "accuracy" else "" if field.startswith("variance") else "nats"
    return before + unit if unit else ""


def section(rows: Rows, smoothings: Sequence[float], about: str) -> Section:
    """Return the section with Table 2 and Fig. 6.

    Args:
        rows: output of `lessons.teach` for one or more seeds.
        smoothings: label smoothing of the teacher without and of the teacher with smoothing.
        about: sentences about the data and the training.
    """
    plain, smoothed = smoothings
    seeds = len({row["seed"] for row in rows})
    table, claims, said = [], [], []
    measured = [("teacher", f) for f in ("accuracy", "variance_valid", "variance_train", "entropy_train")]
    measured += [(kind, field) for kind in STUDENTS for field in ("accuracy", "loss", "cross_entropy")]
    for kind, field in measured:
        columns = [_values(rows, kind, smoothing, field) for smoothing in (plain, smoothed)]
        alone = _values(rows, kind, None, field) if field == "accuracy" and kind in STUDENTS else []
        gap = t_interval([b - a for a, b in zip(*columns, strict=True)])
        cells = [_spread(alone, field) if alone else "", *(_spread(column, field) for column in columns)]
        name = "teacher" if kind == "teacher" else f"student: {NAMES[kind]}"
        table.append((name, UNITS[field], *cells, gap.shown(DIGITS[field], sign=True)))
    for claim, kind, field, up in CLAIMS:
        gap = t_interval(
            [b - a for a, b in zip(*(_values(rows, kind, s, field) for s in (plain, smoothed)), strict=True)]
        )
        ends = [None if math.isnan(end) else round(end, 5) for end in (gap.value, gap.low, gap.high)]
        claims.append((claim, *ends, _unit(field), verdict(gap, up)))
        said.append(
            f"{claim[0].upper()}{claim[1:]}: {verdict(gap, up)} ({gap.shown(DIGITS[field], sign=True)}"
            f"{_unit(field, ' ')})."
        )
    points = [
        (
            *(row[name] for name in ("system", "kind", "teacher_smoothing", "seed")),
            epoch,
            *(None if each[name] is None else round(each[name], 4) for name in EPOCH),
        )
        for row in rows
        for epoch, each in enumerate(row["epochs"], start=1)
    ]
    header = ["network", "measured", "from labels", f"teacher LS {plain:g}", f"teacher LS {smoothed:g}"]
    spread = f"mean ± standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    difference = "and the difference with its 95 % interval (Student's t, paired by seed)"
    claimed = ["claim", "difference", "95 % from", "to", "unit", "verdict"]
    columns = ["system", "kind", "teacher_smoothing", "seed", "epoch"]
    columns += EPOCH.values()
    caption = "Students of teachers with and without label smoothing, as in the paper's Fig. 6. Lines are means over"
    caption += " seeds, bands reach from the minimum to the maximum."
    return Section(
        "Label smoothing of the teacher and its students, on images",
        [about, *said, *_caution(seeds)],
        [
            Table("table2", f"As in the paper's Table 2: {spread}, {difference}.", [*header, "difference"], table),
            Table("claims", "Claims of the paper. Differences are with minus without smoothing.", claimed, claims),
            Table("curves", "All epochs of all networks; losses in nats per image.", columns, points),
        ],
        [Picture("curves", caption, _draw(rows, plain, smoothed), "curves")],
    )


def _caution(seeds: int) -> Iterator[str]:
    yield (
        "The cross-entropy is the KL plus the teacher's entropy, which smoothing raises whatever the student does. "
        "Both have the same gradient, but only the KL measures how well the student matches its teacher."
    )
    if seeds == 1:
        yield "With one seed there are no intervals, and no claim is decided. Run more seeds (--seeds 1 2 3)."
    elif seeds < 6:
        yield (
            f"With {seeds} seeds the intervals are wide: a claim is decided only if the difference is several times "
            "its standard deviation over seeds."
        )


@styled
def _draw(rows: Rows, plain: float, smoothed: float) -> Any:
    drawn = figure(7.2, 5.2)
    panels = drawn.subplots(len(STUDENTS), 2, sharex=True)
    for line, kind in zip(panels, STUDENTS, strict=True):
        for panel, field, title in zip(
            line,
            ("loss", "accuracy"),
            ("training distillation loss (KL), nats", "validation accuracy, %"),
            strict=True,
        ):
            shown_from = []
            for index, smoothing in enumerate((plain, smoothed)):
                found = [r["epochs"] for r in rows if r["kind"] == kind and r["teacher_smoothing"] == smoothing]
                measured = enumerate(zip(*found, strict=True), start=1)
                points = [(x, [e[field] for e in each]) for x, each in measured if each[0][field] is not None]
                x, values = [x for x, _ in points], [each for _, each in points]
                means = [statistics.mean(each) for each in values]
                style = {"color": COLOURS[index], "linestyle": LINES[index]}
                panel.plot(x, means, linewidth=1.4, label=f"teacher LS {smoothing:g}", **style)
                ends = [min(each) for each in values], [max(each) for each in values]
                panel.fill_between(x, *ends, color=COLOURS[index], alpha=0.18, linewidth=0)
                shown_from += [end[i] for end in ends for i in range(len(values) // 6, len(values))]
            # The y range leaves out the first epochs, where values are far from the rest.
            margin = 0.08 * (max(shown_from) - min(shown_from)) or 1
            panel.set_ylim(min(shown_from) - margin, max(shown_from) + margin)
            panel.set_title(f"{NAMES[kind]}: {title}")
    for panel in panels[-1]:
        panel.set_xlabel("epoch")
    panels[0][0].legend()
    return drawn
