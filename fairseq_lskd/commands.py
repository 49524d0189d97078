"""What a recorded command line says."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

#: What trains, called by itself or by a launcher: `torchrun ... -m fairseq_cli.train`.
PROGRAMS, MODULES = ("fairseq-train", "fairseq-hydra-train"), ("fairseq_cli.train", "fairseq_cli.hydra_train")


def option(command: Sequence[str], name: str) -> str | None:
    """The value of an option, `--name value` or `--name=value`; of the last one if it is there twice."""
    found = None
    for position, word in enumerate(command):
        if word == name and position + 1 < len(command):
            found = command[position + 1]
        elif word.startswith(f"{name}="):
            found = word.partition("=")[2]
    return found


def without(command: Sequence[str], names: Collection[str]) -> list[str]:
    """A command without these options, each of which has a value."""
    words, rest = iter(command), []
    for word in words:
        name, equals, _ = word.partition("=")
        if name not in names:
            rest.append(word)
        elif not equals:
            next(words, None)
    return rest


def trains(command: Sequence[str]) -> int | None:
    """Where in a command fairseq's training is called, what follows being its own; None if it trains nothing."""
    if command and Path(command[0]).name in PROGRAMS:
        return 0
    return next((position for position, word in enumerate(command) if word in MODULES), None)
