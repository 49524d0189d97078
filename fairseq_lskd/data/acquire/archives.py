"""Read members of archives as streams. Nothing is written to the paths in an archive."""

from __future__ import annotations

import bz2
import contextlib
import fnmatch
import functools
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ...errors import UserError

_BROKEN = (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError)
_OPENERS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open))
_CHUNK = 1 << 20


@contextlib.contextmanager
def broken(path: Path) -> Iterator[None]:
    """Turn the errors that libraries raise for damaged files into a `UserError`. Use it for opening and for reading."""
    try:
        yield
    except _BROKEN as error:
        raise UserError(f"{path}: broken ({str(error) or type(error).__name__}); fetch it again") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise UserError(f"{path}: broken ({error}); fetch it again") from error


def members(path: Path, wanted: Sequence[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the wanted members of an archive, in its order, each with a stream of its uncompressed bytes.

    `*` in `wanted` matches any text. Read each stream before asking for the next one. The whole archive is read, so
    that damage anywhere in it is found.

    Raises:
        UserError: for an archive that is broken, lacks a member, or has one that points outside its folder. Reading a
            damaged stream raises it too.
    """
    with _all_errors(path):  # exceptions of the caller's loop body do not pass through here
        yield from _members(path, wanted)


def _members(path: Path, wanted: Sequence[str]) -> Iterator[tuple[str, IO[bytes]]]:
    missing = dict.fromkeys(wanted)
    for name, opened in _all(path):
        found = [want for want in wanted if want == name or fnmatch.fnmatchcase(name, want)]
        if not found:
            continue
        if len(found) > 1:
            raise UserError(f"{path}: its member {name} matches {' and '.join(found)}; expected one match")
        (want,) = found
        if want not in missing:
            raise UserError(f"{path}: several members match {want}; name one of them in the corpus file")
        del missing[want]
        if opened is None:
            raise UserError(f"{path}: its member {name} is not a file")
        try:
            stream = opened()
        except (RuntimeError, NotImplementedError) as error:  # zipfile: encrypted, or an unknown compression
            raise UserError(
                f"{path}: its member {name} cannot be unpacked ({error}); unpack it yourself and give --raw"
            ) from None
        # A member may be compressed itself.
        whole = gzip.GzipFile(fileobj=stream) if name.endswith(".gz") else stream
        yield want, io.BufferedReader(_Member(path, whole), _CHUNK)
    if missing:
        raise UserError(f"{path}: has no member {', '.join(missing)}; is it another archive of the same name?")


class _Member(io.RawIOBase):
    """A member's stream. Damage raises a `UserError`."""

    def __init__(self, path: Path, stream: IO[bytes] | gzip.GzipFile):
        self._path, self._stream = path, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _all_errors(self._path):
            chunk = self._stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


@contextlib.contextmanager
def _all_errors(path: Path) -> Iterator[None]:
    """Turn every exception into a `UserError`, because a damaged header can make a library raise anything."""
    try:
        with broken(path):
            yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:
        raise UserError(f"{path}: broken ({type(error).__name__}: {error}); fetch it again") from None


def _all(path: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]] | None]]:
    """Yield each member's name and, if it is a file, a function that opens it."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                _check_inside(path, info.filename)
                # The Unix file type, to exclude links and devices. Other systems leave it 0.
                kind = stat.S_IFMT(info.external_attr >> 16)
                is_file = not info.is_dir() and kind in (0, stat.S_IFREG)
                yield info.filename, functools.partial(archive.open, info) if is_file else None
        return
    with path.open("rb") as stream:
        magic = stream.read(6)
    opener = next((each for start, each in _OPENERS if magic.startswith(start)), open)
    # tarfile's own decompression ignores checksums and everything after the last member.
    with opener(path, "rb") as whole:
        with tarfile.open(fileobj=whole, mode="r|") as archive:
            for member in archive:
                name = _check_inside(path, member.name)
                if member.issym():
                    _check_inside(path, member.linkname, inside=str(PurePosixPath(name).parent))
                elif member.islnk():
                    _check_inside(path, member.linkname)
                yield name, functools.partial(_extract, archive, member) if member.isreg() else None
        while whole.read(_CHUNK):
            pass


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(member)
    assert stream is not None  # it is a file
    return stream


def _check_inside(path: Path, name: str, inside: str = ".") -> str:
    """Return the name without a leading `./`. Raise `UserError` if it leads out of the archive's folder."""
    depth = 0
    for step in (*PurePosixPath(inside).parts, *PurePosixPath(name).parts):
        depth += {"..": -1, ".": 0}.get(step, 1)
        if step == "/" or depth < 0:
            raise UserError(f"{path}: its member {name} points outside its folder; this archive is not safe to read")
    return name.removeprefix("./")
