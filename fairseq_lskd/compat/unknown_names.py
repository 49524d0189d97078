"""A clear message for checkpoints with an architecture, task or criterion that fairseq does not have.

fairseq fails while it formats its message ("Replacement index 1 out of range"), or with a KeyError.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from .evaluated_options import is_command
from .user_dirs import option

NAME = "unknown-names"
NEEDED_BY = 'without its --user-dir, a model or task fails with "Replacement index 1 out of range" or a KeyError'
MODULES: tuple[str, ...] = ("fairseq.models", "fairseq.tasks", "fairseq.criterions")
WHEN = "after"

#: Module -> (function, what it builds, attributes that may have the name, registries).
BUILDERS = {
    "fairseq.models": ("build_model", "architecture", ("_name", "arch"), ("ARCH_MODEL_REGISTRY", "MODEL_REGISTRY")),
    "fairseq.tasks": ("setup_task", "task", ("task", "_name"), ("TASK_REGISTRY",)),
    "fairseq.criterions": ("build_criterion", "criterion", ("criterion", "_name"), ("CRITERION_REGISTRY",)),
}


def _unpatched() -> list[str]:
    return [
        name
        for name, (function, *_) in BUILDERS.items()
        if hasattr(module := sys.modules.get(name), function) and not hasattr(getattr(module, function), "names")
    ]


def needed() -> bool:
    """Whether an imported function does not check the name first."""
    return bool(_unpatched())


def apply() -> None:
    for name in _unpatched():
        patch(sys.modules[name], *BUILDERS[name])


def patch(module: Any, function: str, kind: str, places: tuple[str, ...], registries: tuple[str, ...]) -> None:
    """Make one function refuse names that are in no registry."""
    original = getattr(module, function)

    @functools.wraps(original)
    def build(cfg: Any, *args: Any, **kwargs: Any) -> Any:
        named = next((value for place in places if isinstance(value := getattr(cfg, place, None), str) and value), None)
        if named is not None and not any(named in getattr(module, registry) for registry in registries):
            message = (
                f"fairseq has no {kind} {named!r}. Give the folder that registers it with {option()} (the folder that "
                "a checkpoint records is not imported automatically)"
            )
            if is_command():
                sys.exit(f"fairseq_lskd: error: {message}")
            raise ValueError(message)
        return original(cfg, *args, **kwargs)

    build.names = True  # type: ignore[attr-defined]  # a mark on a function
    setattr(module, function, build)
