"""Members of archives, read as streams: nothing is written to where an archive wants it."""

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
    """What libraries say of damaged files, as a `UserError`. Reading a member may raise it as well as opening one."""
    try:
        yield
    except _BROKEN as error:
        raise UserError(f"{path}: broken ({str(error) or type(error).__name__}); fetch it again") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise UserError(f"{path}: broken ({error}); fetch it again") from error


def members(path: Path, wanted: Sequence[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """The wanted members of an archive, in its order, each with its (uncompressed) bytes.

    `*` stands for any text. A stream is to be read before the next one is asked for. The whole archive is read, so
    that damage anywhere in it is found.

    Raises:
        UserError: for an archive that is broken, lacks a member, or has one that points outside its folder; as the
            streams do that cannot be read to their end.
    """
    with _whatever(path):  # of what the loop around this does with a stream, nothing is raised in here
        yield from _members(path, wanted)


def _members(path: Path, wanted: Sequence[str]) -> Iterator[tuple[str, IO[bytes]]]:
    missing = dict.fromkeys(wanted)
    for name, opened in _all(path):
        found = [want for want in wanted if want == name or fnmatch.fnmatchcase(name, want)]
        if not found:
            continue
        if len(found) > 1:
            raise UserError(f"{path}: its member {name} is wanted as {' and as '.join(found)}: let one match it")
        (want,) = found
        if want not in missing:
            raise UserError(f"{path}: several members are called {want}")
        del missing[want]
        if opened is None:
            raise UserError(f"{path}: its member {name} is not a file")
        try:
            stream = opened()
        except (RuntimeError, NotImplementedError) as error:  # zipfile's, of what it has no password or method for
            raise UserError(
                f"{path}: its member {name} cannot be unpacked ({error}); unpack it yourself, and give --raw"
            ) from None
        # An archive may hold compressed files.
        whole = gzip.GzipFile(fileobj=stream) if name.endswith(".gz") else stream
        yield want, io.BufferedReader(_Member(path, whole), _CHUNK)
    if missing:
        raise UserError(f"{path}: has no member {', '.join(missing)}; is it another archive of the same name?")


class _Member(io.RawIOBase):
    """A member whose damage is a `UserError`."""

    def __init__(self, path: Path, stream: IO[bytes] | gzip.GzipFile):
        self._path, self._stream = path, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _whatever(self._path):
            chunk = self._stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


@contextlib.contextmanager
def _whatever(path: Path) -> Iterator[None]:
    """Whatever is raised, as a `UserError`: a header of an archive can fail its library in any way."""
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
    """Every member's name, and what opens it if it is a file."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                _check_inside(path, info.filename)
                # Links and devices, as Unix has them; other systems leave this 0.
                kind = stat.S_IFMT(info.external_attr >> 16)
                is_file = not info.is_dir() and kind in (0, stat.S_IFREG)
                yield info.filename, functools.partial(archive.open, info) if is_file else None
        return
    with path.open("rb") as stream:
        magic = stream.read(6)
    opener = next((each for start, each in _OPENERS if magic.startswith(start)), open)
    # tarfile's own decompression looks neither at checksums nor at what comes after the last member.
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
    """The name without a leading `./`; refuses one that leads out of the folder of the archive."""
    depth = 0
    for step in (*PurePosixPath(inside).parts, *PurePosixPath(name).parts):
        depth += {"..": -1, ".": 0}.get(step, 1)
        if step == "/" or depth < 0:
            raise UserError(f"{path}: its member {name} points outside its folder: a harmful archive, not read")
    return name.removeprefix("./")
