"""Read recorded command lines."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

#: The programs that train, and their modules, which launchers call: `torchrun ... -m fairseq_cli.train`.
PROGRAMS, MODULES = ("fairseq-train", "fairseq-hydra-train"), ("fairseq_cli.train", "fairseq_cli.hydra_train")


def option(command: Sequence[str], name: str) -> str | None:
    """Return the value of an option, given as `--name value` or `--name=value`. The last one counts."""
    found = None
    for position, word in enumerate(command):
        if word == name and position + 1 < len(command):
            found = command[position + 1]
        elif word.startswith(f"{name}="):
            found = word.partition("=")[2]
    return found


def without(command: Sequence[str], names: Collection[str]) -> list[str]:
    """Return a command without the named options, which have a value each."""
    words, rest = iter(command), []
    for word in words:
        name, equals, _ = word.partition("=")
        if name not in names:
            rest.append(word)
        elif not equals:
            next(words, None)
    return rest


def trains(command: Sequence[str]) -> int | None:
    """Return the position of fairseq's training program in a command; None if the command does not train."""
    if command and Path(command[0]).name in PROGRAMS:
        return 0
    return next((position for position, word in enumerate(command) if word in MODULES), None)
