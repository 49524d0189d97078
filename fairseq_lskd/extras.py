"""Check for optional packages, which only some commands need, before the work begins."""

from __future__ import annotations

import importlib.util

from .compat.versions import OPTIONAL
from .errors import UserError


def is_installed(module: str) -> bool:
    """Return whether a module can be found. It is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # the module is loaded, without a __spec__
        return True


def require(needed_by: str, *modules: str) -> None:
    """Check that optional packages are installed.

    Args:
        needed_by: the command, flag or setting that needs them, for the message.
        modules: keys of `compat.versions.OPTIONAL`.

    Raises:
        UserError: with the commands that install the missing packages.
    """
    missing = [OPTIONAL[module] for module in modules if not is_installed(module)]
    if missing:
        names, are = " and ".join(package.name for package in missing), "are" if len(missing) > 1 else "is"
        how = "; ".join(package.how_to_get for package in missing)
        raise UserError(f"{needed_by} needs {names}, which {are} not installed. Get it with: {how}")
