"""Check names and URLs in untrusted data before they become paths.

Untrusted data are records, corpus files, experiments (YAML), options in checkpoints, and archives. A name in them must
be plain, or a path inside a folder. Paths on a command line are not restricted. `plain_name` in scripts/lib.sh applies
the same rule in the shell.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import SplitResult, urlsplit

from .errors import UserError
from .reading import Kind, shown

#: The name of a language, recipe, size or corpus. It cannot be a hidden file or an option.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_HOST = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9._:-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SCHEMES = ("http", "https")


def is_plain(name: Any) -> bool:
    """Return whether a value is a plain name: letters, digits, `.`, `_` and `-`, not starting with `.` or `-`."""
    return isinstance(name, str) and bool(_PLAIN.fullmatch(name)) and len(name) <= 200


def is_inside(name: Any) -> bool:
    """Return whether a value is a relative path that cannot leave its folder."""
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
    """Return a name if it is plain.

    Args:
        what: what the name belongs to, for the message.

    Raises:
        UserError: if the name is not plain.
    """
    if not is_plain(name):
        raise UserError(f"{what} {shown(name)}: expected {PLAIN.words}")
    return str(name)


def within(folder: Path, name: Any, what: str) -> Path:
    """Return the path of `name` in a folder.

    Raises:
        UserError: if `name` is absolute or contains `..`.
    """
    if not is_inside(name):
        raise UserError(f"{what} {shown(name)}: expected {INSIDE.words}")
    return folder / name


def why_no_url(url: Any) -> str | None:
    """Return why a value is not a URL that can be fetched and cached; None if it is one."""
    found = _split(url)
    if found is None:
        return "expected a URL"
    if found.scheme not in SCHEMES:
        return f"expected {' or '.join(SCHEMES)}, found {shown(found.scheme) if found.scheme else 'neither'}"
    if not _HOST.fullmatch(found.hostname or ""):
        return "expected the name of a server after ://"
    if ".." in found.path.split("/"):
        return "expected a path without '..'"
    return None


def place_of_url(url: str) -> PurePosixPath:
    """Return the path of a URL in a cache: the name of the server, followed by the path on the server.

    Raises:
        UserError: for the reasons of `why_no_url`.
    """
    found = _split(url)
    if found is None or (problem := why_no_url(url)):
        raise UserError(f"url = {shown(url)}: {'expected a URL' if found is None else problem}")
    return PurePosixPath(found.hostname or "", *filter(None, found.path.split("/")))


def _split(url: Any) -> SplitResult | None:
    # urlsplit removes tabs and line ends without an error.
    if not isinstance(url, str) or _CONTROL.search(url) or " " in url:
        return None
    try:
        found = urlsplit(url)
        found.port  # noqa: B018  raises ValueError if it is not a number
    except ValueError:
        return None
    return found
