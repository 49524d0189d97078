"""Result records as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

#: Header -> the record's field. A column with nothing in it is left out.
COLUMNS = {
    "system": "system",
    "teacher LS": "teacher_smoothing",
    "method": "method",
    "T": "temperature",
    "parameters": "parameters",
    "BLEU": "bleu",
    "chrF": "chrf",
    "valid ppl": "valid_ppl",
    "KL to truth": "kl_to_truth",
    "train s": "train_seconds",
}
_FORMATS = {
    "parameters": "{:,}",
    "bleu": "{:.1f}",
    "chrf": "{:.1f}",
    "valid_ppl": "{:.2f}",
    "kl_to_truth": "{:.2f}",
    "train_seconds": "{:.0f}",
}


def _cell(record: dict[str, Any], field: str) -> str:
    value = record.get(field)
    return "" if value is None else _FORMATS.get(field, "{}").format(value)


def format_table(records: Sequence[dict[str, Any]], style: str = "simple") -> str:
    """A row a record, the signatures under the table.

    Args:
        records: as `lskd score` writes them.
        style: a table format of tabulate's: simple, github, latex, tsv, ...
    """
    columns = {head: field for head, field in COLUMNS.items() if any(r.get(field) is not None for r in records)}
    rows = [[_cell(record, field) for field in columns.values()] for record in records]
    aligned = ["left" if field in ("system", "method") else "right" for field in columns.values()]
    table = tabulate(rows, headers=list(columns), tablefmt=style, colalign=aligned, disable_numparse=True)
    signatures = {
        f"{name}: {record[key]}"
        for record in records
        for name, key in (("BLEU", "signature"), ("chrF", "chrf_signature"))
    }
    return "\n".join([table, "", *sorted(signatures)])
