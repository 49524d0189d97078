"""Read text files, plain or gzipped, as bytes or as lines."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from .errors import UserError

#: The errors of reading a truncated or damaged gzip file.
BROKEN = (EOFError, zlib.error, gzip.BadGzipFile)
UNREADABLE = (*BROKEN, OSError)


@contextlib.contextmanager
def open_text(path: Path, by_content: bool = False) -> Iterator[IO[bytes]]:
    """Open a file for reading its uncompressed bytes. It is a gzip file if its name ends in `.gz`.

    Args:
        by_content: detect gzip by the first bytes, instead of the name.

    Raises:
        OSError: if the file cannot be opened. Reading from the stream raises `BROKEN` for a damaged gzip file.
    """
    with path.open("rb") as stream:
        if stream.peek(2)[:2] == b"\x1f\x8b" if by_content else path.suffix == ".gz":
            with gzip.GzipFile(fileobj=stream) as text:
                yield cast(IO[bytes], text)
        else:
            yield stream


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file, plain or gzipped (`.gz`), without their line ends.

    Lines end at LF or CRLF only. Other line separators of Unicode are part of the text.

    Raises:
        UserError: if the file cannot be read, is damaged or is not UTF-8.
    """
    try:
        for number, (offset, raw) in enumerate(raw_lines(path), start=1):
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(decoding_problem(path, number, offset, error)) from error
            yield line.removeprefix("\ufeff") if number == 1 else line
    except UNREADABLE as error:
        raise UserError(reading_problem(path, error)) from error


def raw_lines(path: Path, digest: hashlib._Hash | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield the offset of each line in the uncompressed bytes, and its bytes without the line end.

    Args:
        digest: is updated with all bytes.
    """
    offset = 0
    with open_text(path) as stream:
        for raw in stream:
            if digest is not None:
                digest.update(raw)
            yield offset, raw.removesuffix(b"\n").removesuffix(b"\r")
            offset += len(raw)


def conversion(path: Path | str, line: bytes) -> str:
    """Return how to make a file readable, from its first line that is not UTF-8."""
    if line.startswith(b"\x1f\x8b"):
        return f"it is compressed by gzip, so rename it to {path}.gz"
    # UTF-16 begins with a mark of its byte order.
    encoding = "utf-16" if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "latin1"
    return f"convert it, for example with `iconv -f {encoding} -t utf-8`"


def decoding_problem(path: Path, line: int, offset: int, error: UnicodeDecodeError) -> str:
    """Return a message for a line that is not UTF-8."""
    byte = error.object[error.start]
    return (
        f"{path}: line {line} is not UTF-8: byte 0x{byte:02x} at position {error.start + 1} of the line "
        f"(offset {offset + error.start} of the file); "
        f"{conversion(path, error.object)}"
    )


def reading_problem(path: Path, error: Exception) -> str:
    """Return a message for an error of `UNREADABLE`."""
    if isinstance(error, BROKEN):
        return f"{path}: not a whole gzip file ({error}); fetch or compress it again"
    return f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})"
