"""Warnings of libraries about how fairseq calls them, which a user of fairseq can do nothing about."""

from __future__ import annotations

import sys
import warnings

NAME = "library-warnings"
NEEDED_BY = "every command prints warnings of Hydra, torch and Python that are addressed to fairseq's authors"
MODULES: tuple[str, ...] = ("fairseq", "fairseq_cli")
WHEN = "before"

#: Regular expressions that match the beginnings of the warnings' texts.
MESSAGES = (
    r"hydra\.experimental\.\w+\(\) is no longer experimental",
    r"\nThe version_base parameter is not specified",
    r"In 'config': Usage of deprecated keyword in package header",
    r"\n?'config' is validated against ConfigStore schema",
    r"\n?The strict flag in the compose API is deprecated",
    r"'pin_memory' argument is set as true but no accelerator is found",
    r"`torch\.cuda\.amp\.autocast\(args\.\.\.\)` is deprecated",
    r"`torch\.cuda\.amp\.GradScaler\(args\.\.\.\)` is deprecated",
    r"`torch\.jit\.\w+` is deprecated",
    r"Support for mismatched key_padding_mask and attn_mask is deprecated",
)

#: A regular expression that matches fairseq's files: Python 3.12 and later warn of their strings when it compiles them.
FILES = r"(.*[/\\])?fairseq(_cli)?[/\\]"


def needed() -> bool:
    """Return whether Python shows warnings by its default rules: `-W` and PYTHONWARNINGS take precedence."""
    return not sys.warnoptions


def apply() -> None:
    """Ignore these warnings in this process."""
    for message in MESSAGES:
        warnings.filterwarnings("ignore", message)
    warnings.filterwarnings("ignore", r"invalid escape sequence|\"\\.*\" is an invalid escape", SyntaxWarning, FILES)
