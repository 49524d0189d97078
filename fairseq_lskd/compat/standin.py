"""A module seen through another: what one module of fairseq's gets in place of ``numpy`` or ``torch``.

Changing ``numpy`` itself would change it for everyone in the process.
"""

from __future__ import annotations

import inspect
import re
import sys
from types import ModuleType
from typing import Any


class StandIn(ModuleType):
    """Everything the module has, but for the attributes given."""

    def __init__(self, module: ModuleType, **changed: Any) -> None:
        super().__init__(module.__name__, module.__doc__)
        self.__dict__.update(changed, stands_in_for=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["stands_in_for"], name)


def users(names: tuple[str, ...], pattern: str) -> list[ModuleType]:
    """Those of the named modules that are imported and whose source matches ``pattern``."""
    loaded = [sys.modules[name] for name in names if name in sys.modules]
    return [module for module in loaded if re.search(pattern, source(module))]


def source(module: ModuleType) -> str:
    """The module's text, or nothing where it has none (a compiled or made-up module)."""
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        return ""


def replace(modules: list[ModuleType], name: str, **changed: Any) -> None:
    """Stand in for the global ``name`` in each of the modules, once."""
    for module in modules:
        current = vars(module)[name]
        if not isinstance(current, StandIn):
            vars(module)[name] = StandIn(current, **changed)
