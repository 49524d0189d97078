"""How what was made differs from what is asked for, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def what_differs(there: Mapping[str, Any], asked: Mapping[str, Any], label: str = "{}", here: str = "now") -> list[str]:
    """A line for each name whose values differ: "beam: 5 there, 4 now". Digests are cut short, a missing value is none.

    Args:
        there: what was made, by name.
        asked: what is asked for, by name; these come first.
        label: how a name is written.
        here: what the lines call the place of `asked`.
    """
    return [
        f"{label.format(name)}: {_shown(there.get(name))} there, {_shown(asked.get(name))} {here}"
        for name in dict.fromkeys([*asked, *there])
        if there.get(name) != asked.get(name)
    ]


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return " ".join(map(_shown, value))
    return f"SHA-256 {value[:12]}…" if isinstance(value, str) and len(value) == 64 else str(value)
