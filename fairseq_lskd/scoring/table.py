"""Format result records as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tabulate import LATEX_ESCAPE_RULES, tabulate

from ..busy import doubt
from ..records.convergence import SHARE
from ..records.result import COLUMNS, SCORES, Column, measured, pairs_of
from .budgets import budgets
from .differences import Difference, support
from .gap import NO_GAP, UNDECIDED, Share
from .metrics import NAMES, signature_key
from .seeds import Spread
from .taught import SHARES

#: Mark after the name of a system that had not converged. It is plain text in every table style.
UNCONVERGED = "!"
#: Marks of distillation losses that are not over the vocabulary, by --kd-rest.
_OVER = {"class": ">=", "renormalise": "~"}


def _cell(record: dict[str, Any], column: Column) -> str:
    value = record.get(column.key)
    if value is None:
        return ""
    std = record.get(f"{column.key}_std")
    text = column.shown(value)
    if column.key == "system" and record.get("converged") is False:
        text = f"{text} {UNCONVERGED}"
    if column.key == "train_kd_loss" and (over := support(record)):
        text = f"{_OVER.get(over.rest, '?')} {text}"
    # Only scores have their standard deviation: that of the training's length is of no interest.
    return text if std is None or column.part != SCORES else f"{text} +- {column.shown(std)}"


def format_table(records: Sequence[dict[str, Any]], style: str = "simple", warnings: Sequence[str] = ()) -> str:
    """Format a table with one row per record, followed by signatures and notes.

    Args:
        records: records of `lskd record`, or means over seeds (`over_seeds.mean_records`), optionally with shares of
            the gap (`taught.add_shares`).
        style: table format of tabulate: simple, github, latex, tsv, ...
        warnings: lines to add at the end.
    """
    one_pair = len(pairs_of(records)) < 2
    columns = _columns(
        lambda key: any(record.get(key) is not None for record in records) and not (key == "pair" and one_pair)
    )
    rows = [[_cell(record, column) for column in columns] for record in records]
    aligned = ["left" if column.left else "right" for column in columns]
    heads = [str(column.header) for column in columns]
    table = tabulate(rows, headers=heads, tablefmt=style, colalign=aligned, disable_numparse=True)
    signatures = {
        f"{title}: {record[key]}"
        for record in records
        for name, title in NAMES.items()
        if (key := signature_key(name)) in record
    }
    notes = [f"test set: {name}" for name in dict.fromkeys(r["test_set"] for r in records if r.get("test_set"))]
    if any(record.get(f"{key}_std") is not None for record in records for key in measured(SCORES)):
        notes.append("+-: standard deviation over seeds")
    if any(record.get("converged") is False for record in records):
        notes.append(
            f"{UNCONVERGED}: not converged: the validation metric still improved by {SHARE:.0%} or more in the last "
            "fifth of the training, for at least one seed"
        )
    notes += budgets(records)
    over = dict.fromkeys(support(record) for record in records if record.get("train_kd_loss") is not None)
    for rest, what in (
        (
            "class",
            "and one class for all others: a lower bound of the loss over the vocabulary, and not comparable with it",
        ),
        ("renormalise", "alone, renormalised: not comparable with the loss over the vocabulary"),
    ):
        if found := [each.types for each in over if each and each.rest == rest]:
            types = " or ".join(map(str, filter(None, found))) or "top"
            notes.append(f"train KD, {_OVER[rest]}: computed over the teacher's {types} most probable types {what}")
    for where in dict.fromkeys(record["speed_machine"] for record in records if record.get("speed_machine")):
        busy = [record.get("speed_others_cores") or 0.0 for record in records if record.get("speed_machine") == where]
        notes.append(f"sent/s: sentences per second of fairseq-generate on {where}{doubt(max(busy))}")
    notes += _of_shares([record[field] for record in records for field in SHARES.values() if field in record])
    return "\n".join([table, "", *escaped([*sorted(signatures), *notes, *warnings], style)])


def _columns(is_there: Callable[[str], bool]) -> list[Column]:
    return [column for key, column in COLUMNS.items() if column.header is not None and is_there(key)]


def _of_shares(shares: Sequence[Share]) -> list[str]:
    if not shares:
        return []
    notes = [
        "gap closed: (student - plain) / (teacher - plain) in BLEU, or in chrF in the column of that name; plain: the "
        "student of the same size and seed without a teacher, if possible with the same budget"
    ]
    if any(share.interval for share in shares):
        notes[0] += " [95 % confidence interval over seeds, Fieller]"
    if any(share.n == 1 for share in shares):
        notes.append("gap closed, one seed: there is no interval, and another seed may give another share")
    if any(str(share) == UNDECIDED for share in shares):
        notes.append(f"{UNDECIDED}: over these seeds, teacher - plain is not significantly different from 0")
    if any(str(share) == NO_GAP for share in shares):
        notes.append(f"{NO_GAP}: the teacher is no better than the plain student")
    return notes


#: Characters that LaTeX would print as others, or take for commands.
_LATEX = str.maketrans({**LATEX_ESCAPE_RULES, "|": r"\textbar{}"})


def escaped(lines: Sequence[str], style: str) -> list[str]:
    """Escape special characters of LaTeX in lines of text, if the style is one of LaTeX, as tabulate does in cells."""
    return [line.translate(_LATEX) for line in lines] if style.startswith("latex") else list(lines)


def format_differences(
    differences: Sequence[Difference],
    left_out: Sequence[str] = (),
    style: str = "simple",
    closed: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> str:
    """Format a table with one row per pair of systems, with 95 % intervals (Student's t) for several seeds.

    Args:
        left_out: names of systems with the same labels as others.
        style: table format of tabulate.
        closed: sentences about shares of the gap (`remarks.closed`), for a list under the table.
        warnings: lines to add at the end.
    """
    if not differences:
        none = "No two systems with a common seed differ in exactly one label (set labels with `lskd run --label`)."
        return "\n".join([none, *warnings])
    columns = _columns(lambda key: any(key in difference.values for difference in differences))
    rows = [
        [
            each.choice,
            each.system,
            each.baseline,
            *(_change(each.values.get(column.key), column) for column in columns),
        ]
        for each in differences
    ]
    heads = ["label that differs", "system", "baseline", *(str(column.header) for column in columns)]
    aligned = ["left"] * 3 + ["right"] * len(columns)
    table = tabulate(rows, headers=heads, tablefmt=style, colalign=aligned, disable_numparse=True)
    seeds = sorted({found.n for each in differences for found in each.values.values()})
    several = (
        f"system - baseline, mean of {' or '.join(map(str, seeds))} paired seeds [95 % confidence interval, Student's "
        "t]; *: the interval does not contain 0"
    )
    notes = [several if seeds != [1] else "system - baseline, one seed: the difference may be due to the seed"]
    if left_out:
        notes.append(f"left out, because another system has the same labels: {', '.join(left_out)}")
    lines = [*notes, *warnings, *(["", *(f"- {sentence}" for sentence in closed)] if closed else [])]
    return "\n".join([table, "", *escaped(lines, style)])


def _change(found: Spread | None, column: Column) -> str:
    if found is None:
        return ""
    mean = column.shown(found.mean, sign=True)
    if found.interval is None:
        return mean
    low, high = found.interval
    return f"{mean} [{column.shown(low, sign=True)}, {column.shown(high, sign=True)}]{'*' * (low > 0 or high < 0)}"
