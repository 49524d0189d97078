"""What a recorded command line says."""

from __future__ import annotations

from collections.abc import Sequence


def option(command: Sequence[str], name: str) -> str | None:
    """The value of an option, `--name value` or `--name=value`; of the last one if it is there twice."""
    found = None
    for position, word in enumerate(command):
        if word == name and position + 1 < len(command):
            found = command[position + 1]
        elif word.startswith(f"{name}="):
            found = word.partition("=")[2]
    return found
