"""How what was made differs from what is asked for, in words."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence
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


def commands_differ(there: Sequence[str], asked: Sequence[str]) -> list[str]:
    """A line for each place where two command lines differ, in whole options."""
    before, now = _options(there), _options(asked)
    return [
        f"its command has {' '.join(before[i:j]) or 'nothing'} where this has {' '.join(now[k:m]) or 'nothing'}"
        for kind, i, j, k, m in difflib.SequenceMatcher(None, before, now, autojunk=False).get_opcodes()
        if kind != "equal"
    ]


def _options(command: Sequence[str]) -> list[str]:
    """The options of a command, each with its values."""
    options: list[str] = []
    for word in command:
        if word.startswith("-") or not options:
            options.append(shlex.quote(word))
        else:
            options[-1] += f" {shlex.quote(word)}"
    return options


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return " ".join(map(_shown, value))
    return f"SHA-256 {value[:12]}…" if isinstance(value, str) and len(value) == 64 else str(value)
