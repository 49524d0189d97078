"""Checkpoints are copied in place: a kill halfway leaves a ``checkpoint_last.pt`` that no resume can read.

fairseq 0.12 writes the first name of a checkpoint beside and renames it, and copies that to the other names by
``shutil.copyfile``, which cuts the old file to nothing before it writes.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

NAME = "checkpoint-copies"
NEEDED_BY = "a kill while checkpoint_last.pt is copied leaves half of it, which no resume can read (without iopath)"
MODULE = "fairseq.file_io"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"


def needed() -> bool:
    """Whether fairseq copies by itself, and in place."""
    module: Any = sys.modules[MODULE]
    return module.IOPathManager is None and "copyfile" in module.PathManager.copy.__code__.co_names


def apply() -> None:
    """Have ``PathManager.copy`` write beside, and rename; it overwrites as before, whether asked to or not."""
    manager: Any = sys.modules[MODULE].PathManager
    original = manager.copy
    if getattr(original, "writes_beside", False):
        return

    @functools.wraps(original)
    def copy(src_path: str, dst_path: str, overwrite: bool = False) -> Any:
        # Through a link, as before.
        place = Path(dst_path).resolve()
        if place.exists() and (not place.is_file() or place.samefile(src_path)):
            return original(src_path, dst_path, overwrite)
        # Always the same name, so that what a kill leaves is written over.
        part = place.with_name(f"{place.name}.part")
        try:
            original(src_path, str(part), overwrite)
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
        return dst_path

    copy.writes_beside = True  # type: ignore[attr-defined]  # a mark on a function
    manager.copy = staticmethod(copy)
