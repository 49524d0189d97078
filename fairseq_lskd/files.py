"""Files that are whole or not there."""

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

#: What stands for a file or folder until it is whole.
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.(part|partial)")
#: Bytes: less is a full disk, to those who write without saying why they failed.
FULL = 2**16


@contextlib.contextmanager
def write_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path in the same folder to write to; on success it is renamed to `path`, else removed.

    A link is followed. An `OSError` on the way names `path`, and one of a full disk says so whoever wrote.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        path = path.resolve()
    sweep(path, "part")
    # Unique among processes on several machines too, which may share a folder.
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with errors_name(path, part):
            yield part
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def errors_name(path: Path, part: Path) -> Iterator[None]:
    """Have what fails in writing name the file or folder that was to be, not the hidden one that stands for it."""
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
    except RuntimeError as error:  # of torch, NumPy or SentencePiece
        if _is_full(part):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def _is_full(part: Path) -> bool:
    return shutil.disk_usage(part.parent).free < FULL


def is_leftover(path: Path) -> bool:
    """Whether a file or folder is what a call that was killed had begun to write in place of another."""
    return _LEFTOVER.fullmatch(path.name) is not None


def contents(folder: Path) -> list[Path]:
    """What is in a folder, sorted, but for what killed calls left: a folder with nothing else is as good as empty."""
    return sorted(path for path in folder.iterdir() if not is_leftover(path))


def find(folder: Path, *names: str) -> list[Path]:
    """Files of these names at or under a folder, sorted, but for hidden folders: there is what is to be replaced."""
    found = (path for name in names for path in folder.rglob(name))
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def sweep(path: Path, ending: str, seconds: float = 86400) -> None:
    """Remove what calls that were killed had begun to write in place of `path`, if nothing was for a day (or less)."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.????????.{ending}"):
        with contextlib.suppress(OSError):
            if time.time() - max(each.stat().st_mtime for each in (part, *part.rglob("*"))) > seconds:
                shutil.rmtree(part) if part.is_dir() else part.unlink()


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write JSON for people: indented, with a newline at the end."""
    with write_beside(path) as part:
        part.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def stamp(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """What changes when a file is written again: its size, its time in ns, and which file it is. () if it is gone."""
    try:
        found = Path(path).stat()
    except OSError:
        return ()
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev


def sha256(path: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
