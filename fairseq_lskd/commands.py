"""Read and print command lines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

#: The programs that train, and their modules, which launchers call: `torchrun ... -m fairseq_cli.train`.
PROGRAMS, MODULES = ("fairseq-train", "fairseq-hydra-train"), ("fairseq_cli.train", "fairseq_cli.hydra_train")

_LANGUAGES = (("-s", "--source-lang"), ("-t", "--target-lang"))


def option(command: Sequence[str], name: str) -> str | None:
    """Return the value of an option, given as `--name value` or `--name=value`. The last one counts."""
    found = None
    for position, word in enumerate(command):
        if word == name and position + 1 < len(command):
            found = command[position + 1]
        elif word.startswith(f"{name}="):
            found = word.partition("=")[2]
    return found


def languages_of(command: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the source and the target language in the options of a command, as far as they are given."""
    source, target = (option(command, short) or option(command, long) for short, long in _LANGUAGES)
    return source, target


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


def training_words(command: Sequence[str]) -> list[str] | None:
    """Return the words after fairseq-train in a command; None for others, also fairseq-hydra-train, without flags."""
    start = trains(command)
    if start is None or Path(command[start]).name not in (PROGRAMS[0], MODULES[0]):
        return None
    return list(command[start + 1 :])


_NUMBER = re.compile(r"-\.?\d")


def shown(command: Sequence[str], width: int) -> str:
    """Return a command for a shell, in lines of `width` characters if an option with its value is not longer.

    A training takes the last value of an option, so earlier ones are left out.
    """
    options: list[list[str]] = [[]]
    for word in command:
        if word.startswith("-") and not _NUMBER.match(word):
            options.append([])
        options[-1].append(word)
    if (training := trains(command)) is not None:
        flags = [words[0].partition("=")[0] for words in options]
        start = next(i for i in range(len(options)) if sum(map(len, options[: i + 1])) > training)
        options = [words for i, words in enumerate(options) if i <= start or flags[i] not in flags[i + 1 :]]
    lines = [""]
    for words in options:
        text = shlex.join(words)
        if lines[-1].strip() and len(lines[-1]) + len(text) > width - 3:  # a space, and " \\" at the end
            lines.append("    ")
        lines[-1] += f"{' ' if lines[-1].strip() else ''}{text}"
    return " \\\n".join(lines)


def number(given: Any) -> float | None:
    """Convert a label or option to a number, or return None."""
    try:
        return float(given)
    except (TypeError, ValueError):
        return None
