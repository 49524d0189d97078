"""Replace ``numpy``, ``torch`` or another module in single modules of fairseq, by a copy with other attributes.

A change of ``numpy`` itself would affect the whole process.
"""

from __future__ import annotations

import inspect
import re
import sys
from types import ModuleType
from typing import Any


class StandIn(ModuleType):
    """A module with the attributes of another, except for those given."""

    def __init__(self, module: ModuleType, **changed: Any) -> None:
        super().__init__(module.__name__, module.__doc__)
        self.__dict__.update(changed, stands_in_for=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["stands_in_for"], name)


def users(names: tuple[str, ...], pattern: str) -> list[ModuleType]:
    """Return the modules among ``names`` that are imported and have ``pattern`` in their source."""
    loaded = [sys.modules[name] for name in names if name in sys.modules]
    return [module for module in loaded if re.search(pattern, source(module))]


def source(module: ModuleType) -> str:
    """Return the source of a module, or "" if it has none (a compiled module, for example)."""
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        return ""


def replace(modules: list[ModuleType], name: str, **changed: Any) -> None:
    """Replace the global ``name`` in each of the modules; a second call changes nothing."""
    for module in modules:
        current = vars(module)[name]
        if not isinstance(current, StandIn):
            vars(module)[name] = StandIn(current, **changed)
