"""What is printed for people: names come from files and records, which can hold what a terminal would obey."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

#: Control characters but tabulator and line feed, and halves of characters, which no terminal can show.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
#: What progress bars need: back to the line's begin, and a line up.
_OF_BARS = re.compile(r"(\r|\x1b\[A)")


def printable(text: str) -> str:
    """A text whose control characters are spelt out: `\\x1b` in place of the character that begins an escape."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


class _Plain:
    """A stream to which control characters are written as what they are called."""

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
    """Within it, what is printed, and what `sys.exit` is given to say, has no control characters but those of lines."""
    out, err = (cast(TextIO, _Plain(stream, bars)) for stream, bars in ((sys.stdout, False), (sys.stderr, True)))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
    except SystemExit as end:
        if isinstance(end.code, str):
            end.code = printable(end.code)
        raise
