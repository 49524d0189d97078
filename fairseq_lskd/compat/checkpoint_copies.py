"""Copies of checkpoints: if fairseq 0.12 is killed while it copies one, ``checkpoint_last.pt`` is incomplete.

fairseq 0.12 writes a checkpoint to a temporary file and renames it. For the checkpoint's other names it copies the file
with ``shutil.copyfile``, which truncates the old file before it writes.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

NAME = "checkpoint-copies"
NEEDED_BY = "a training killed while it copies checkpoint_last.pt leaves an incomplete file (without iopath)"
MODULE = "fairseq.file_io"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"


def needed() -> bool:
    """Whether fairseq copies files itself, and in place."""
    module: Any = sys.modules[MODULE]
    return module.IOPathManager is None and "copyfile" in module.PathManager.copy.__code__.co_names


def apply() -> None:
    """Make ``PathManager.copy`` write to a temporary file and rename it. As before, it always overwrites."""
    manager: Any = sys.modules[MODULE].PathManager
    original = manager.copy
    if getattr(original, "writes_beside", False):
        return

    @functools.wraps(original)
    def copy(src_path: str, dst_path: str, overwrite: bool = False) -> Any:
        # As before, a link is followed.
        place = Path(dst_path).resolve()
        if place.exists() and (not place.is_file() or place.samefile(src_path)):
            return original(src_path, dst_path, overwrite)
        # The name is always the same, so a file that a killed process left is overwritten.
        part = place.with_name(f"{place.name}.part")
        try:
            original(src_path, str(part), overwrite)
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
        return dst_path

    copy.writes_beside = True  # type: ignore[attr-defined]  # a mark on a function
    manager.copy = staticmethod(copy)
