"""Report what cleaning kept and dropped: counts and examples, as JSON and Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..shifting import Alignment
from .steps import DUPLICATE, FILTERS, HELD_OUT, RATIO
from .worker import Cleaned, Example, merge_examples

#: The share of the pairs above which a filter drops many, and the fewest pairs that are many.
MANY, LEAST_MANY = 0.1, 20


@dataclass
class PartReport:
    """The counts of one part's pairs: read, kept in train, held out, and dropped by each filter.

    `alignment` checks the lines before cleaning.
    """

    name: str
    read: int = 0
    kept: int = 0
    held_out: int = 0
    changed: int = 0
    asked: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    alignment: Alignment = field(default_factory=lambda: Alignment("the source", "the target"))

    def add(self, block: Cleaned, routes: np.ndarray | None) -> None:
        """Add a block's counts and examples. `routes` holds the split of each pair (0: train)."""
        held_out = 0 if routes is None else int(np.count_nonzero(routes))
        self.read += block.read
        if block.measured is not None:
            self.alignment.add(block.first, block.measured)
        self.kept += len(block.source) - held_out
        self.held_out += held_out
        self.changed += block.changed
        self.asked += block.asked
        self.dropped.update(block.dropped)
        for name, examples in block.examples.items():
            merge_examples(self.examples.setdefault(name, []), examples)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "read": self.read,
            "kept": self.kept,
            "held_out": self.held_out,
            "text_changed": self.changed,
            "lines_identified": self.asked,
            "dropped": {name: self.dropped[name] for name in FILTERS if self.dropped[name]},
            "examples": {
                name: [{"line": e.line, "source": e.source, "target": e.target} for e in self.examples[name]]
                for name in FILTERS
                if name in self.examples
            },
        }

    def many_dropped(self) -> list[str]:
        """Return a warning of each filter that dropped many pairs. Many duplicates and held-out pairs are usual."""
        least = max(LEAST_MANY, MANY * self.read)
        return [
            f"{self.name}: cleaning dropped {count:,} of {self.read:,} pairs ({count / self.read:.0%}) by the filter "
            f"`{name}`: {_ADVICE if name == RATIO else 'look at its examples in the report'}"
            for name in FILTERS
            if name not in (DUPLICATE, HELD_OUT) and (count := self.dropped[name]) >= least
        ]


_ADVICE = "the lines of the two sides may be out of step; look at its examples in the report"


def table(reports: Sequence[PartReport], totals: Sequence[int] | None = None) -> str:
    """Return a Markdown table of the parts. `totals`, the lines of each part, scale the counts of a sample."""
    scales = [total / report.read if report.read else 0.0 for report, total in _with(reports, totals)]
    names = [name for name in FILTERS if any(report.dropped[name] for report in reports)]
    held_out = ["held out"] if any(report.held_out for report in reports) else []
    header = ["", *(_cell(report.name) for report in reports), *(["all", "%"] if reports else [])]
    rows = [
        ("read", [report.read for report in reports]),
        *((name, [report.dropped[name] for report in reports]) for name in names),
        *((name, [report.held_out for report in reports]) for name in held_out),
        ("kept", [report.kept for report in reports]),
    ]
    lines = [f"| {' | '.join(header)} |", f"|---|{'---:|' * (len(header) - 1)}"]
    everything = sum(report.read * scale for report, scale in zip(reports, scales, strict=True))
    for name, counts in rows:
        scaled = [round(count * scale) for count, scale in zip(counts, scales, strict=True)]
        share = 100 * sum(scaled) / everything if everything else 0.0
        cells = [name, *(f"{count:,}" for count in scaled), f"{sum(scaled):,}", f"{share:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _with(reports: Sequence[PartReport], totals: Sequence[int] | None) -> list[tuple[PartReport, int]]:
    return list(zip(reports, totals or [report.read for report in reports], strict=True))


def examples(reports: Sequence[PartReport]) -> str:
    """Return examples of what each filter dropped, in Markdown."""
    lines: list[str] = []
    for name in FILTERS:
        found = [(report.name, example) for report in reports for example in report.examples.get(name, [])]
        if found:
            lines += ["", f"## {name}", "", "| part | line | source | target |", "|---|---:|---|---|"]
            lines += [f"| {_cell(part)} | {e.line:,} | {_cell(e.source)} | {_cell(e.target)} |" for part, e in found]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Escape a text for a table cell and show its control characters."""
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return shown.replace("|", "\\|")
