"""The names of the architecture and task in a checkpoint, and whether fairseq has them registered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_DATACLASS_REGISTRY
from fairseq.tasks import TASK_REGISTRY
from fairseq.tasks.translation import TranslationTask

from ..errors import UserError


@dataclass(frozen=True)
class Names:
    """Names that a checkpoint records; None if it does not."""

    architecture: str | None
    task: str | None
    user_dir: str | None  #: the value of --user-dir in the training; it is shown in messages and never imported


def _get(node: Any, *names: str) -> Any:
    try:
        for name in names:
            node = node.get(name) if hasattr(node, "get") else getattr(node, name, None)
    except Exception:  # OmegaConf raises many exceptions on interpolated values; `read_checkpoint` checks the options
        return None
    return node


def names_of(archive: dict[str, Any]) -> Names:
    """Return the names in a result of `read_archive`, in fairseq's current form ("cfg") or the old one ("args")."""
    if (old := archive.get("args")) is not None:
        found = _get(old, "arch"), _get(old, "task"), _get(old, "user_dir")
    else:
        options = archive.get("cfg")
        # Options without a dataclass are recorded under their old names.
        model = _get(options, "model", "_name") or _get(options, "model", "arch")
        found = (
            model,
            _get(options, "task", "_name") or _get(options, "task", "task"),
            _get(options, "common", "user_dir"),
        )
    return Names(*(value if isinstance(value, str) and value else None for value in found))


def is_bilingual(task: str | None) -> bool:
    """Whether a task is fairseq's `translation` or a user's subclass of it."""
    return task == "translation" or _is_own(task, TranslationTask)


def base_task(task: str | None) -> str | None:
    """Return the task of several language pairs that a user's own task is a subclass of; other tasks unchanged."""
    bases = ("translation_multi_simple_epoch", "multilingual_translation")
    return next((base for base in bases if _is_own(task, TASK_REGISTRY[base])), task)


def _is_own(task: str | None, base: type) -> bool:
    """Whether a task is a user's subclass of `base`."""
    kind = TASK_REGISTRY.get(task)
    return isinstance(kind, type) and issubclass(kind, base) and not kind.__module__.startswith("fairseq.")


def check_known(path: str | Path, archive: dict[str, Any]) -> None:
    """Check that the architecture and task of a checkpoint are registered.

    Raises:
        UserError: if not. The message names them and the folder that the checkpoint records.
    """
    names = names_of(archive)
    known = ARCH_MODEL_REGISTRY.keys() | MODEL_DATACLASS_REGISTRY.keys()
    unknown = [
        f"the {kind} {name!r}"
        for kind, name, there in (("architecture", names.architecture, known), ("task", names.task, TASK_REGISTRY))
        if name is not None and name not in there
    ]
    if not unknown:
        return
    if names.user_dir is None or Path(names.user_dir).name == "fairseq_lskd":
        way_out = "The checkpoint does not record the folder that registers it. Name that folder with --user-dir DIR"
    else:
        way_out = (
            f"The checkpoint was trained with --user-dir {names.user_dir}. That folder is not imported automatically. "
            f"If you trust it, give --user-dir {names.user_dir}"
        )
    raise UserError(
        f"{path} needs {' and '.join(unknown)}, which fairseq does not have. {way_out}. (fairseq's commands take one "
        "--user-dir. For a criterion of fairseq_lskd, its __init__.py must `import fairseq_lskd.criterions`)"
    )
