"""Rows of the stages as tables, for the end of run.sh and for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tabulate import tabulate

Rows = Sequence[dict[str, Any]]


def table(stage: str, rows: Rows) -> str:
    """The rows of a stage in Markdown; nothing if there are none."""
    return TABLES[stage](rows) if rows else ""


def exact(rows: Rows) -> str:
    """A line a kind of check and number format: how many, how many passed, and the worst error of them."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["check"], row.get("precision", "")), []).append(row)
    lines = []
    for (check, precision), members in groups.items():
        # By how much of its limit it takes; one that failed to run, or is not a number, is the worst.
        worst = max(members, key=lambda row: (row.get("error") is None, (row.get("error") or 0) / (row.get("limit") or 1)))
        error = worst.get("error")
        lines.append(
            {
                "check": check,
                "precision": precision,
                "passed": f"{sum(bool(row['ok']) for row in members)} of {len(members)}",
                "worst": worst.get("failed", "not a number") if error is None else f"{error:.2g}",
                "limit": "" if worst.get("limit") is None else f"{worst['limit']:.2g}",
                "of": f"{worst['what']}{', ' + worst['part'] if worst.get('part') else ''}",
            }
        )
    return _markdown(lines)


def _markdown(lines: Sequence[dict[str, Any]], right: Sequence[str] = ()) -> str:
    names = list(dict.fromkeys(name for line in lines for name in line))
    align = ["right" if name in right else "left" for name in names]
    cells = [[line.get(name, "") for name in names] for line in lines]
    return tabulate(cells, names, tablefmt="github", disable_numparse=True, colalign=align)


TABLES: dict[str, Callable[[Rows], str]] = {"exact": exact}
