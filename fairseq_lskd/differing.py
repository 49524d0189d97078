"""Describe in words how an existing output differs from the requested one."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any


def what_differs(there: Mapping[str, Any], asked: Mapping[str, Any], label: str = "{}", here: str = "now") -> list[str]:
    """Return a line for each name with different values, such as "beam: 5, now 4".

    Digests are shortened, and a missing value is called none.

    Args:
        there: the values of the existing output, by name.
        asked: the requested values, by name. Their lines come first.
        label: format of a name, with `{}` in place of the name.
        here: the words before the requested value, which say where it was found.
    """
    return [
        f"{label.format(name)}: {_shown(there.get(name))}, {here} {_shown(asked.get(name))}"
        for name in dict.fromkeys([*asked, *there])
        if there.get(name) != asked.get(name)
    ]


def commands_differ(there: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Return a line for each difference between two command lines, in whole options."""
    before, now = _options(there), _options(asked)
    return [
        _change(" ".join(before[i:j]), " ".join(now[k:m]))
        for kind, i, j, k, m in difflib.SequenceMatcher(None, before, now, autojunk=False).get_opcodes()
        if kind != "equal"
    ]


def _change(before: str, now: str) -> str:
    if not before:
        return f"its command does not have {now}"
    return f"its command has {before}, this one {f'has {now}' if now else 'does not'}"


def _options(command: Sequence[str]) -> list[str]:
    """Split a command into options with their values."""
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
