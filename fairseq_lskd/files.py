"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def write_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path in the same folder to write to; on success it is renamed to `path`, else removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path, "part")
    # Unique among processes on several machines too, which may share a folder.
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def sweep(path: Path, ending: str) -> None:
    """Remove what calls that were killed had begun to write in place of `path`, if nothing was for a day."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.????????.{ending}"):
        with contextlib.suppress(OSError):
            if time.time() - max(each.stat().st_mtime for each in (part, *part.rglob("*"))) > 86400:
                shutil.rmtree(part) if part.is_dir() else part.unlink()


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write JSON for people: indented, with a newline at the end."""
    with write_beside(path) as part:
        part.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def sha256(path: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
