"""Members of archives, read as streams: nothing is written to where an archive wants it."""

from __future__ import annotations

import bz2
import contextlib
import fnmatch
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

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
        raise UserError(f"{path}: broken ({error}); fetch it again") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise UserError(f"{path}: broken ({error}); fetch it again") from error


def members(path: Path, wanted: Sequence[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """The wanted members of an archive, in its order, each with its (uncompressed) bytes. To be read under `broken`.

    `*` stands for any text. A stream is to be read before the next one is asked for. The whole archive is read, so
    that damage anywhere in it is found.

    Raises:
        UserError: for an archive that lacks a member, or has one that points outside its folder.
    """
    missing = dict.fromkeys(wanted)
    for name, stream in _all(path):
        found = [want for want in wanted if want == name or fnmatch.fnmatchcase(name, want)]
        if not found:
            continue
        (want,) = found
        if want not in missing:
            raise UserError(f"{path}: several members are called {want}")
        del missing[want]
        if stream is None:
            raise UserError(f"{path}: its member {name} is not a file")
        # An archive may hold compressed files.
        yield want, (gzip.GzipFile(fileobj=stream) if name.endswith(".gz") else stream)  # type: ignore[misc]
    if missing:
        raise UserError(f"{path}: has no member {', '.join(missing)}; is it another archive of the same name?")


def _all(path: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                _check_inside(path, info.filename)
                yield info.filename, None if info.is_dir() else archive.open(info)
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
                yield name, archive.extractfile(member) if member.isreg() else None
        while whole.read(_CHUNK):
            pass


def _check_inside(path: Path, name: str, inside: str = ".") -> str:
    """The name without a leading `./`; refuses one that leads out of the folder of the archive."""
    depth = 0
    for step in (*PurePosixPath(inside).parts, *PurePosixPath(name).parts):
        depth += {"..": -1, ".": 0}.get(step, 1)
        if step == "/" or depth < 0:
            raise UserError(f"{path}: its member {name} points outside its folder: a harmful archive, not read")
    return name.removeprefix("./")
