"""The exception for mistakes that a user can correct."""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

#: The environment variable with the file that collects the messages of an experiment's steps (`scripts/experiment.sh`).
COLLECTED = "LSKD_COLLECTED_ERRORS"


class UserError(ValueError):
    """A user's mistake. The message says what was found, what was expected, and what to do.

    Unprintable characters are escaped, as names from files may contain commands for the terminal.
    """

    def __init__(self, message: str = "") -> None:
        text = str(message)
        if not text.isprintable():
            text = "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
        super().__init__(text)


@contextlib.contextmanager
def exit_on_user_error(prefix: str) -> Iterator[None]:
    """Turn a `UserError` into a message on stderr and exit status 1, without a traceback."""
    try:
        yield
    except UserError as error:
        message = f"{prefix}: error: {error}"
        if collected := os.environ.get(COLLECTED):
            with contextlib.suppress(OSError), Path(collected).open("a", encoding="utf-8") as file:
                print(message, file=file)
        sys.exit(message)


def meant(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return which known word a misspelt one probably means; None if it is similar to none.

    Args:
        cutoff: least similarity, from 0 to 1, as difflib measures it.
    """
    return next(iter(difflib.get_close_matches(word, list(known), 1, cutoff)), None)
