"""Escape control characters in printed text. Names from files and records may contain commands for the terminal."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

#: Control characters except tab and line feed, and lone surrogates.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
#: The control sequences of progress bars: carriage return, and cursor up.
_OF_BARS = re.compile(r"(\r|\x1b\[A)")


def printable(text: str) -> str:
    """Return a text with escaped control characters: `\\x1b` in place of the escape character."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


class _Plain:
    """A stream that escapes control characters; with `bars`, except those of progress bars."""

    def __init__(self, stream: TextIO, bars: bool):
        self._stream, self._bars = stream, bars

    def write(self, text: str) -> int:
        if _UNPRINTABLE.search(text):
            parts = _OF_BARS.split(text) if self._bars else [text]
            text = "".join(part if self._bars and _OF_BARS.fullmatch(part) else printable(part) for part in parts)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def plain_output() -> Iterator[None]:
    """Escape control characters in all output within this context, and in the message of `sys.exit`."""
    out, err = (cast(TextIO, _Plain(stream, bars)) for stream, bars in ((sys.stdout, False), (sys.stderr, True)))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
    except SystemExit as end:
        if isinstance(end.code, str):
            end.code = printable(end.code)
        raise
