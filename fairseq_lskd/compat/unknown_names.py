"""A checkpoint of an architecture, task or criterion that fairseq does not have: it says so, and what to give.

fairseq formats the whole configuration into its message, and fails there ("Replacement index 1 out of range"), or asks
a dictionary for the name, and dies of a KeyError.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from .evaluated_options import is_command

NAME = "unknown-names"
NEEDED_BY = 'models and tasks of a --user-dir that was not given: "Replacement index 1 out of range", or a KeyError'
MODULES: tuple[str, ...] = ("fairseq.models", "fairseq.tasks", "fairseq.criterions")
WHEN = "after"

#: Module -> its function, what it builds, where the name may be, and the registries.
BUILDERS = {
    "fairseq.models": ("build_model", "architecture", ("_name", "arch"), ("ARCH_MODEL_REGISTRY", "MODEL_REGISTRY")),
    "fairseq.tasks": ("setup_task", "task", ("task", "_name"), ("TASK_REGISTRY",)),
    "fairseq.criterions": ("build_criterion", "criterion", ("criterion", "_name"), ("CRITERION_REGISTRY",)),
}


def _unmended() -> list[str]:
    return [
        name
        for name, (function, *_) in BUILDERS.items()
        if hasattr(module := sys.modules.get(name), function) and not hasattr(getattr(module, function), "names")
    ]


def needed() -> bool:
    """Whether one is there that does not look at the name first."""
    return bool(_unmended())


def apply() -> None:
    """Have each look whether the name is known."""
    for name in _unmended():
        mend(sys.modules[name], *BUILDERS[name])


def mend(module: Any, function: str, kind: str, places: tuple[str, ...], registries: tuple[str, ...]) -> None:
    """Have one function refuse names that no registry has."""
    original = getattr(module, function)

    @functools.wraps(original)
    def build(cfg: Any, *args: Any, **kwargs: Any) -> Any:
        named = next((value for place in places if isinstance(value := getattr(cfg, place, None), str) and value), None)
        if named is not None and not any(named in getattr(module, registry) for registry in registries):
            message = (
                f"fairseq has no {kind} {named!r} here: give the folder that registers it, --user-dir DIR (that which "
                "a checkpoint names is not imported by itself)"
            )
            if is_command():
                sys.exit(f"fairseq_lskd: error: {message}")
            raise ValueError(message)
        return original(cfg, *args, **kwargs)

    build.names = True  # type: ignore[attr-defined]  # a mark on a function
    setattr(module, function, build)
