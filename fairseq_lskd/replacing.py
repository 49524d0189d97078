"""LSKD_REPLACE=1: what was made otherwise is made anew, where a command would refuse to touch it.

A pipeline sets it: when an option or an input changes, what depends on it is to change too. The old stays where it is
until the new can take its place, and is then set aside, in a hidden folder beside, until the new is whole. Only what a
command knows for its own is ever removed, by the record that it wrote there: what others put in a folder (notes, say)
moves into the new one.
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
    """A kind of folder that a command writes."""

    whole: Callable[[Path], bool]  #: whether the command has finished a folder
    written: Callable[[Path], Iterable[str]]  #: relative names of the files in a folder that are the command's
    #: Whether a folder inside is another step's own, into which nothing of an earlier one may come.
    steps: Callable[[Path], bool] = lambda folder: False


def asked() -> bool:
    """Whether what was made otherwise may be replaced."""
    return os.environ.get("LSKD_REPLACE", "") not in ("", "0")


def replaces(path: Path, changes: Iterable[str]) -> bool:
    """Whether `path`, made otherwise, may be replaced; if so, says it."""
    if asked():
        print(f"{path} | made anew (LSKD_REPLACE): {'; '.join(changes)}", file=sys.stderr)
    return asked()


def followed(out: Path) -> Path:
    """The folder that `out` names, through links, whether it is there or not.

    Raises:
        UserError: if links lead nowhere but to each other.
    """
    try:
        found = out.resolve()
    except (OSError, RuntimeError) as error:  # which of them, the version of Python decides
        raise UserError(f"{out} is a link that cannot be followed ({error}); name another folder") from None
    if found.is_symlink():
        raise UserError(f"{out} is a link that leads round in a circle; name another folder")
    return found


def beside(out: Path) -> Path:
    """A new empty folder in which the successor of `out` is made."""
    new = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}.partial"
    new.mkdir(parents=True)
    return new


def put_in_place(new: Path, out: Path) -> None:
    """Rename a folder to `out`; what was there is set aside until `settle`.

    Raises:
        OSError: if that cannot be done; then `out` is as it was.
    """
    aside = None
    if out.is_dir():
        if contents(out):
            aside = put_aside(out)
        else:
            for part in out.iterdir():  # of calls that were killed
                shutil.rmtree(part) if part.is_dir() else part.unlink()
    try:
        new.rename(out)
    except OSError:
        if aside is not None:
            aside.rename(out)
        raise


def set_aside(out: Path) -> list[Path]:
    """What stood at `out` before, oldest first, of calls whose successors are not whole yet, or that were killed."""
    found = out.parent.glob(f".{glob.escape(out.name)}.????????.{ASIDE}")
    return sorted(found, key=lambda path: path.stat().st_ctime_ns)  # which renaming sets


def put_aside(path: Path) -> Path:
    """Rename what is there, so that it can be told as having stood there; where it is now."""
    return path.rename(path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.{ASIDE}")


def restore(out: Path) -> None:
    """Put back what was set aside last, where there is nothing at `out`, or an empty folder."""
    set_aside(out)[-1].rename(out)


def settle(out: Path, kind: Kind) -> None:
    """End a replacement, and one that a killed call began: see the module.

    Where `out` is whole, the command's own files are removed from what was set aside, and all else moves to `out`.
    Where there is nothing at `out`, what was set aside is put back. Between the two, nothing is done.
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
            print(f"{out} | kept what others put there: {', '.join(kept)}", file=sys.stderr)
        # Under this name it is never put back, whatever is left of it by a kill.
        gone = old.with_suffix(".partial")
        old.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def foreign(folder: Path, kind: Kind) -> list[str]:
    """Relative names of what others put in a folder: files, or folders of theirs as a whole."""
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
    """Move what is not ours to the same place in `out`; its name there, or None if `out` has made one of that name."""
    first, *rest = entry.relative_to(old).parts
    if rest and kind.steps(old / first):
        first += ".kept"
    place = out.joinpath(first, *rest)
    if os.path.lexists(place):
        return None
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        place.parent.mkdir(parents=True, exist_ok=True)
        entry.rename(place)
    return place.relative_to(out).as_posix()
