"""Write files atomically: a file is complete, or it does not exist."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: The names of temporary files and folders, which are renamed when they are complete.
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.(part|partial)")
#: A disk with less free space than this (in bytes) explains a write error without a reason.
FULL = 2**16


@contextlib.contextmanager
def write_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the same folder to write to. It is renamed to `path` on success, and removed otherwise.

    Links are followed. An `OSError` names `path` instead of the temporary path. Write errors of any library on a full
    disk become an `OSError` that says so.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        path = path.resolve()
    sweep(path, "part")
    # Unique even if processes on several machines share the folder.
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with errors_name(path, part):
            yield part
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def errors_name(path: Path, part: Path) -> Iterator[None]:
    """Rewrite errors so that they name the output file or folder `path` instead of the temporary `part`."""
    try:
        yield
    except OSError as error:
        if error.errno is None and _is_full(part):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        for attribute in ("filename", "filename2"):
            name = getattr(error, attribute)
            if isinstance(name, str | Path) and Path(name).is_relative_to(part):
                setattr(error, attribute, str(path / Path(name).relative_to(part)))
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename is None:
            error.filename = str(path)
        raise
    except RuntimeError as error:  # raised by torch, NumPy and SentencePiece
        if _is_full(part):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def _is_full(part: Path) -> bool:
    return shutil.disk_usage(part.parent).free < FULL


def free(folder: Path) -> int:
    """Return the number of free bytes on the disk of a folder, which need not exist."""
    folder = folder.absolute()
    return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free


def size(count: int | None) -> str:
    """Format a number of bytes for a message."""
    if count is None:
        return "size unknown"
    if count < 1_000_000:
        return f"{count:,} bytes"
    return f"{count / 1e6:,.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def is_leftover(path: Path) -> bool:
    """Return whether a path is a temporary file or folder, which a killed process may have left."""
    return _LEFTOVER.fullmatch(path.name) is not None


def contents(folder: Path) -> list[Path]:
    """Return the sorted contents of a folder, without temporary files and folders."""
    return sorted(path for path in folder.iterdir() if not is_leftover(path))


def find(folder: Path, *names: str) -> list[Path]:
    """Return the files of these names in a folder and below, sorted, without hidden folders."""
    found = (path for name in names for path in folder.rglob(name))
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def sweep(path: Path, ending: str, seconds: float = 86400) -> None:
    """Remove temporary versions of `path` that killed processes left, if they have not changed for `seconds`."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.????????.{ending}"):
        with contextlib.suppress(OSError):
            if time.time() - max(each.stat().st_mtime for each in (part, *part.rglob("*"))) > seconds:
                shutil.rmtree(part) if part.is_dir() else part.unlink()


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write indented JSON, with a newline at the end."""
    with write_beside(path) as part:
        part.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def stamp(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Return size, modification time in ns, inode and device of a file, to notice changes; () if it does not exist."""
    try:
        found = Path(path).stat()
    except OSError:
        return ()
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
