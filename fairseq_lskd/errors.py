"""The one exception for mistakes that a user can mend."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


class UserError(ValueError):
    """A user's mistake: the message names what was found, what was expected and the way out.

    What cannot be printed is in it as Python writes it: names out of files may hold a terminal's commands.
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
        sys.exit(f"{prefix}: error: {error}")
