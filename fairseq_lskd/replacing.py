"""LSKD_REPLACE=1: what was made otherwise is made anew, where a command would refuse to touch it.

A pipeline sets it: when an option or an input changes, what depends on it is to change too. Only what a command knows
for its own, by the record that it wrote there, is ever removed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path


def replaces(path: Path, changes: Iterable[str]) -> bool:
    """Whether `path`, made otherwise, may be removed; if so, says it."""
    if os.environ.get("LSKD_REPLACE", "") in ("", "0"):
        return False
    print(f"{path} | made anew (LSKD_REPLACE): {'; '.join(changes)}", file=sys.stderr)
    return True


def empty(folder: Path) -> None:
    """Remove what is in a folder, and keep the folder."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
