"""The one place where names and URLs out of data become paths.

Data is what others may have written: a record, a corpus file, an experiment's YAML, a checkpoint's options, an archive.
A name there is plain, or leads to a place inside a folder; what a person types on a command line may be any path.
`plain_name` of scripts/lib.sh is the same rule for the shell.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import SplitResult, urlsplit

from .errors import UserError
from .reading import Kind, shown

#: Of a language, a recipe, a size, a corpus. It begins neither with a dot nor like an option.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_HOST = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9._:-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SCHEMES = ("http", "https")


def is_plain(name: Any) -> bool:
    """Whether a value is a plain name: letters, digits, `.`, `_` and `-`, and neither `.` nor `-` at its beginning."""
    return isinstance(name, str) and bool(_PLAIN.fullmatch(name)) and len(name) <= 200


def is_inside(name: Any) -> bool:
    """Whether a value is a relative path that stays inside the folder it is looked up in."""
    return (
        isinstance(name, str)
        and name not in ("", ".")
        and not name.startswith("/")
        and ".." not in PurePosixPath(name).parts
        and not _CONTROL.search(name)
    )


#: For shapes of `reading`.
PLAIN = Kind("a plain name (letters, digits, '.', '_' and '-')", is_plain)
INSIDE = Kind("a relative path without '..'", is_inside)


def plain(name: Any, what: str) -> str:
    """The name, if it is plain; `what` says whose name it is, for the message.

    Raises:
        UserError: if it is not.
    """
    if not is_plain(name):
        raise UserError(f"{what} {shown(name)}: expected {PLAIN.words}")
    return str(name)


def within(folder: Path, name: Any, what: str) -> Path:
    """The place of a relative path in a folder.

    Raises:
        UserError: if it is absolute, or has `..` in it.
    """
    if not is_inside(name):
        raise UserError(f"{what} {shown(name)}: expected {INSIDE.words}")
    return folder / name


def why_no_url(url: Any) -> str | None:
    """Why a value is no URL that can be fetched and has a place in a cache; None if it is one."""
    found = _split(url)
    if found is None:
        return "expected a URL"
    if found.scheme not in SCHEMES:
        return f"expected {' or '.join(SCHEMES)}, found {shown(found.scheme) if found.scheme else 'neither'}"
    if not _HOST.fullmatch(found.hostname or ""):
        return "expected the name of a server"
    if ".." in found.path.split("/"):
        return "expected a path without '..'"
    return None


def place_of_url(url: str) -> PurePosixPath:
    """Where a file of this URL is in a cache: the server's name, and the path there.

    Raises:
        UserError: as `why_no_url` says.
    """
    found = _split(url)
    if found is None or (problem := why_no_url(url)):
        raise UserError(f"url = {shown(url)}: {'expected a URL' if found is None else problem}")
    return PurePosixPath(found.hostname or "", *filter(None, found.path.split("/")))


def _split(url: Any) -> SplitResult | None:
    # urlsplit drops tabs and line ends without a word.
    if not isinstance(url, str) or _CONTROL.search(url) or " " in url:
        return None
    try:
        found = urlsplit(url)
        found.port  # noqa: B018  read to see whether it is a number
    except ValueError:
        return None
    return found
