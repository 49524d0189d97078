"""Compare the training budgets of the students in a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_MAY = ": this may explain differences between them"


def budgets(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line about how long the students were trained; [] if fewer than two records tell it.

    Budgets count as equal if the numbers of updates, or of target tokens, differ by no more than one validation
    interval, because patience ends a training at a validation. Records of plain fairseq-train have no updates, only
    their limit: limits that differ are told.
    """
    everyone = [record for record in records if record.get("role") == "student"]
    students = [record for record in everyone if record.get("updates")]
    if len(students) < len(everyone):
        ends = [limit for record in everyone if (limit := record.get("max_updates"))]
        if len(set(ends)) > 1:
            return [f"students were trained with different budgets, at most {_range(ends, '{:,.0f}')} updates{_MAY}"]
    if len(students) < 2:
        return []
    updates = [record["updates"] for record in students]
    tokens = [record["target_tokens"] for record in students if record.get("target_tokens")]
    seen = f", {_millions(tokens)} million target tokens" if len(tokens) == len(students) else ""
    interval = max(record.get("validation_interval") or 0 for record in students)
    # The largest number of tokens that a student sees from one validation to the next.
    between = interval * max((t / u for t, u in zip(tokens, updates, strict=False)), default=0)
    said = f"{_range(updates, '{:,.0f}')} updates{seen}"
    if max(updates) - min(updates) <= interval or (seen and max(tokens) - min(tokens) <= between):
        return [f"students: the same budget, {said}"]
    limits = {record.get("max_updates") for record in students}
    if len(limits) == 1 and None not in limits and all(record.get("patience") for record in students):
        limit = limits.pop()
        return [f"students: {said} (early stopping, at most {limit:,} updates)"]
    return [f"students were trained with different budgets, {said}{_MAY}"]


def _range(values: Sequence[float], form: str) -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def _millions(tokens: Sequence[float]) -> str:
    return _range([each / 1e6 for each in tokens], "{:.2f}" if max(tokens) < 1e7 else "{:,.0f}")
