"""Tables of a comparison of systems."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from ..records.result import COLUMNS
from .table import escaped


def tables(result: dict[str, Any], style: str) -> str:
    """Format the result of `compare`: a table of files, a table over seeds, signatures and notes."""
    metrics = list(result["signatures"])
    several = bool(result.get("over_seeds"))
    rows = [
        [row["system"], *([row["seed"]] if several else []), *(_cell(row, name) for name in metrics)]
        for row in result["systems"]
    ]
    titles = [COLUMNS[name].name for name in metrics]
    parts = [_table(["system", *(["seed"] if several else []), *titles], rows, style)]
    if several:
        over = [
            [entry["system"], entry["seeds"], *(_over(entry[name]) for name in metrics)]
            for entry in result["over_seeds"]
        ]
        parts.append(_table(["system", "seeds", *titles], over, style))
    story = [f"{title}: {result['signatures'][name]}" for title, name in zip(titles, metrics, strict=True)]
    if test := result.get("test"):
        story.append(f"p: {test['kind']} against {test['baseline']}; *: p < 0.05")
    if any(f"{name}_ci" in row for row in result["systems"] for name in metrics):
        story.append("+-: half of the 95 % confidence interval (bootstrap over sentences)")
    if several:
        story.append("over seeds: mean +- standard deviation [95 % confidence interval of the mean, Student's t]")
    return "\n\n".join([*parts, "\n".join(escaped(story, style))])


def _cell(row: dict[str, Any], name: str) -> str:
    text = COLUMNS[name].shown(row[name])
    if f"{name}_ci" in row:
        text += f" +- {row[f'{name}_ci']:.1f}"
    if f"{name}_p" in row:
        p = row[f"{name}_p"]
        text += f" (p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}{'*' if p < 0.05 else ''})"
    return text


def _over(found: dict[str, Any]) -> str:
    if found["std"] is None:
        return f"{found['mean']:.2f}"
    low, high = found["interval"]
    return f"{found['mean']:.2f} +- {found['std']:.2f} [{low:.2f}, {high:.2f}]"


def _table(head: list[str], rows: list[list[Any]], style: str) -> str:
    aligned = ["left", *["right"] * (len(head) - 1)]
    return tabulate(rows, headers=head, tablefmt=style, colalign=aligned, disable_numparse=True)
