"""Packages that only some commands need: what to say where one is missing, before the work begins."""

from __future__ import annotations

import importlib.util

from .compat.versions import OPTIONAL
from .errors import UserError


def is_installed(module: str) -> bool:
    """Whether an optional package is there; imports nothing."""
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # it is imported, and says nothing of where from
        return True


def require(needed_by: str, *modules: str) -> None:
    """Raise a `UserError` that says how to get the optional packages that are missing.

    Args:
        needed_by: the command, flag or setting, as the message names it.
        modules: of `compat.versions.OPTIONAL`.
    """
    missing = [OPTIONAL[module] for module in modules if not is_installed(module)]
    if missing:
        names, are = " and ".join(package.name for package in missing), "are" if len(missing) > 1 else "is"
        how = "; ".join(package.how_to_get for package in missing)
        raise UserError(f"{needed_by} needs {names}, which {are} not installed. Get it with: {how}")
