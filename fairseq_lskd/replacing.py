"""LSKD_REPLACE=1: replace outputs of other options or inputs, instead of refusing to touch them.

Pipelines set this variable, so that a change of an option or input changes all outputs that depend on it. The old
output stays in place until the new one can take its place. It is then set aside in a hidden folder, until the new
output is complete. Only files that the command's record lists are removed. Other files in the folder, such as notes,
move to the new folder.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from .errors import UserError
from .files import contents, is_leftover

ASIDE = "old"


@dataclass(frozen=True)
class Kind:
    """A kind of output folder."""

    whole: Callable[[Path], bool]  #: whether the command has completed a folder
    written: Callable[[Path], Iterable[str]]  #: relative names of the command's files in a folder
    #: Whether a folder inside belongs to another step. Foreign files in it move to NAME.kept.
    steps: Callable[[Path], bool] = lambda folder: False


def asked() -> bool:
    """Return whether LSKD_REPLACE is set."""
    return os.environ.get("LSKD_REPLACE", "") not in ("", "0")


def instead(other: str) -> str:
    """Return what to do about an output of other options or inputs; `other` names what else can be given."""
    if os.environ.get("LSKD_REPLACE") == "0":  # set by an experiment, for the data that several experiments share
        return (
            "It is kept, because other experiments may use it: delete it, or name other data (`data: NAME` in a scale; "
            "--name with the experiment multilingual)"
        )
    return f"Give another {other}, or run the same command with LSKD_REPLACE=1 to replace it"


def replaces(path: Path, changes: Iterable[str]) -> bool:
    """Return whether `path` may be replaced. If so, print its changes."""
    if asked():
        print(f"{path} | replaced (LSKD_REPLACE): {'; '.join(changes)}", file=sys.stderr)
    return asked()


def followed(out: Path) -> Path:
    """Return the folder that `out` names after following links. It need not exist.

    Raises:
        UserError: if the links form a circle.
    """
    try:
        found = out.resolve()
    except (OSError, RuntimeError) as error:  # depends on the version of Python
        raise UserError(f"{out} is a link that cannot be followed ({error}); give another folder") from None
    if found.is_symlink():
        raise UserError(f"{out} is a link in a circle of links; give another folder")
    return found


def beside(out: Path) -> Path:
    """Create an empty temporary folder beside `out`, to write its successor."""
    new = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}.partial"
    new.mkdir(parents=True)
    return new


def put_in_place(new: Path, out: Path) -> None:
    """Rename a folder to `out`. The old `out` is set aside until `settle`.

    Raises:
        OSError: if the folder cannot be renamed. `out` is then unchanged.
    """
    aside = None
    if out.is_dir():
        if contents(out):
            aside = put_aside(out)
        else:
            for part in out.iterdir():  # temporary files of killed processes
                shutil.rmtree(part) if part.is_dir() else part.unlink()
    try:
        new.rename(out)
    except OSError:
        if aside is not None:
            aside.rename(out)
        raise


def set_aside(out: Path) -> list[Path]:
    """Return the former versions of `out` that are set aside, oldest first."""
    found = out.parent.glob(f".{glob.escape(out.name)}.????????.{ASIDE}")
    return sorted(found, key=lambda path: path.stat().st_ctime_ns)  # the time of the renaming


def put_aside(path: Path) -> Path:
    """Set `path` aside: rename it to a hidden name, which is returned."""
    return path.rename(path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.{ASIDE}")


def restore(out: Path) -> None:
    """Put back the latest version that was set aside. `out` must not exist, or be an empty folder."""
    set_aside(out)[-1].rename(out)


def settle(out: Path, kind: Kind) -> None:
    """Complete a replacement, including one that a killed process began.

    If `out` is complete, the command's files are removed from the versions that were set aside, and other files move to
    `out`. If `out` is missing or empty, the latest version is put back. If `out` is incomplete, nothing is done.
    """
    if not (found := set_aside(out)):
        return
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        restore(out)
        return
    if not kind.whole(out):
        return
    for old in found:
        ours = set(kind.written(old))
        kept = [name for entry in _foreign(old, ours) if (name := _moved(entry, old, out, kind)) is not None]
        if kept:
            print(f"{out} | kept files of others: {', '.join(kept)}", file=sys.stderr)
        # If this process is killed now, a folder of this name is not put back.
        gone = old.with_suffix(".partial")
        old.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def foreign(folder: Path, kind: Kind) -> list[str]:
    """Return the relative names of files and folders in a folder that the command did not write."""
    return [entry.relative_to(folder).as_posix() for entry in _foreign(folder, set(kind.written(folder)))]


def _foreign(folder: Path, ours: set[str]) -> Iterator[Path]:
    parents = {parent.as_posix() for name in ours for parent in PurePath(name).parents}
    folders = [folder]
    while folders:
        for entry in sorted(folders.pop().iterdir()):
            name = entry.relative_to(folder).as_posix()
            if name in parents and entry.is_dir() and not entry.is_symlink():
                folders.append(entry)
            elif name not in ours and not is_leftover(entry):
                yield entry


def _moved(entry: Path, old: Path, out: Path, kind: Kind) -> str | None:
    """Move a foreign file or folder to the same place in `out`.

    Returns:
        its relative name; None if `out` has a file of that name, so that it was not moved.
    """
    first, *rest = entry.relative_to(old).parts
    if rest and kind.steps(old / first):
        first += ".kept"
    place = out.joinpath(first, *rest)
    if os.path.lexists(place):
        return None
    with contextlib.suppress(FileNotFoundError):  # another process has moved it
        place.parent.mkdir(parents=True, exist_ok=True)
        entry.rename(place)
    return place.relative_to(out).as_posix()
