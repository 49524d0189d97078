"""Result records as a table for people."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from tabulate import tabulate

from ..busy import doubt
from ..records.convergence import SHARE
from ..records.result import COLUMNS, SCORES, Column
from .budgets import budgets
from .differences import Difference, bound
from .gap import NO_GAP, UNDECIDED, Share
from .metrics import NAMES, signature_key
from .seeds import Spread
from .taught import SHARES

#: Beside the name of a system that had not converged; text in every style.
UNCONVERGED = "!"


def _cell(record: dict[str, Any], column: Column) -> str:
    value = record.get(column.key)
    if value is None:
        return ""
    std = record.get(f"{column.key}_std")
    text = column.shown(value)
    if column.key == "system" and record.get("converged") is False:
        text = f"{text} {UNCONVERGED}"
    if column.key == "train_kd_loss" and bound(record):
        text = f">= {text}"
    # How much the length of a training varies says nothing of its seeds.
    return text if std is None or column.part != SCORES else f"{text} +- {column.shown(std)}"


def format_table(records: Sequence[dict[str, Any]], style: str = "simple", warnings: Sequence[str] = ()) -> str:
    """A row a record, the signatures under the table.

    Args:
        records: as `lskd score` writes them, or means over seeds (`over_seeds.mean_records`), with shares of the gap
            closed or not (`taught.add_shares`).
        style: a table format of tabulate's: simple, github, latex, tsv, ...
        warnings: for the end.
    """
    columns = _columns(lambda key: any(record.get(key) is not None for record in records))
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
    if any(record.get("bleu_std") is not None for record in records):
        notes.append("+-: standard deviation over seeds")
    if any(record.get("converged") is False for record in records):
        notes.append(
            f"{UNCONVERGED}: had not converged: the last fifth of its training still gained {SHARE:.0%} or more of its "
            "validation metric; of several seeds, in one at least"
        )
    notes += budgets(records)
    if bounds := dict.fromkeys(bound(r) for r in records if r.get("train_kd_loss") is not None and bound(r)):
        types = " or ".join(str(k) for k in bounds if k != "cached")
        notes.append(
            f"train KD, >=: of the teacher's {types or 'top'} types, all others as one: a lower bound of the whole "
            "loss, not to be compared with it"
        )
    for where in dict.fromkeys(record["speed_machine"] for record in records if record.get("speed_machine")):
        busy = [record.get("speed_others_cores") or 0.0 for record in records if record.get("speed_machine") == where]
        notes.append(f"sent/s: fairseq-generate on {where}{doubt(max(busy))}")
    notes += _of_shares([record[field] for record in records for field in SHARES.values() if field in record])
    return "\n".join([table, "", *_plain([*sorted(signatures), *notes, *warnings], style)])


def _columns(is_there: Callable[[str], bool]) -> list[Column]:
    return [column for key, column in COLUMNS.items() if column.header is not None and is_there(key)]


def _of_shares(shares: Sequence[Share]) -> list[str]:
    if not shares:
        return []
    notes = [
        "gap closed: (student - plain) / (teacher - plain), in BLEU, or in chrF where it says so; plain: the student "
        "of the same size, seed and budget without a teacher"
    ]
    if any(share.interval for share in shares):
        notes[0] += " [95 % interval over seeds, Fieller's]"
    if any(share.n == 1 for share in shares):
        notes.append("gap closed, of one seed: no interval, and another seed may give another share")
    if any(str(share) == UNDECIDED for share in shares):
        notes.append(f"{UNDECIDED}: over these seeds, teacher less plain is not clear of 0")
    if any(str(share) == NO_GAP for share in shares):
        notes.append(f"{NO_GAP}: the teacher is no better than plain")
    return notes


def _plain(lines: Sequence[str], style: str) -> list[str]:
    """Lines as text in what they are written to: for LaTeX, what follows % is a comment."""
    return [re.sub(r"([%&#_$])", r"\\\1", line) for line in lines] if style.startswith("latex") else list(lines)


def format_differences(
    differences: Sequence[Difference],
    left_out: Sequence[str] = (),
    style: str = "simple",
    closed: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> str:
    """A row a pair of systems, with Student's t interval of 95 % where there are several seeds.

    Args:
        left_out: systems with the same labels as others.
        style: a table format of tabulate's.
        closed: sentences on the shares of gaps (`remarks.closed`), for a list under the table.
        warnings: for the end.
    """
    if not differences:
        return "No two systems with a seed in common differ in one label alone (labels: those of `lskd run --label`)."
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
    heads = ["what differs", "system", "less", *(str(column.header) for column in columns)]
    aligned = ["left"] * 3 + ["right"] * len(columns)
    table = tabulate(rows, headers=heads, tablefmt=style, colalign=aligned, disable_numparse=True)
    seeds = sorted({found.n for each in differences for found in each.values.values()})
    several = f"mean of {' or '.join(map(str, seeds))} seeds, paired [95 % interval, Student's t]; *: zero is not in it"
    notes = [several if seeds != [1] else "one seed each: seeds differ, too"]
    if left_out:
        notes.append(f"left out, as their labels are those of others: {', '.join(left_out)}")
    lines = [*notes, *warnings, *(["", *(f"- {sentence}" for sentence in closed)] if closed else [])]
    return "\n".join([table, "", *_plain(lines, style)])


def _change(found: Spread | None, column: Column) -> str:
    if found is None:
        return ""
    mean = column.shown(found.mean, sign=True)
    if found.interval is None:
        return mean
    low, high = found.interval
    return f"{mean} [{column.shown(low, sign=True)}, {column.shown(high, sign=True)}]{'*' * (low > 0 or high < 0)}"
