"""The names that a checkpoint knows its architecture and task by, and whether fairseq knows them too."""

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
    """What a checkpoint records; None where it does not."""

    architecture: str | None
    task: str | None
    user_dir: str | None  #: as fairseq-train was given it; only its name is ever used, it is never imported


def _get(node: Any, *names: str) -> Any:
    try:
        for name in names:
            node = node.get(name) if hasattr(node, "get") else getattr(node, name, None)
    except Exception:  # OmegaConf's, of values that stand for others; what is built of them is checked elsewhere
        return None
    return node


def names_of(archive: dict[str, Any]) -> Names:
    """Of what `read_archive` returns, in fairseq's present form or, under "args", its old one."""
    if (old := archive.get("args")) is not None:
        found = _get(old, "arch"), _get(old, "task"), _get(old, "user_dir")
    else:
        options = archive.get("cfg")
        # Those that have no dataclass are recorded under their old names.
        model = _get(options, "model", "_name") or _get(options, "model", "arch")
        found = (
            model,
            _get(options, "task", "_name") or _get(options, "task", "task"),
            _get(options, "common", "user_dir"),
        )
    return Names(*(value if isinstance(value, str) and value else None for value in found))


def is_bilingual(task: str | None) -> bool:
    """Whether a task is fairseq's `translation`, or a user's own made of it."""
    kind = TASK_REGISTRY.get(task)
    own = isinstance(kind, type) and issubclass(kind, TranslationTask) and not kind.__module__.startswith("fairseq.")
    return task == "translation" or own


def check_known(path: str | Path, archive: dict[str, Any]) -> None:
    """Refuse a checkpoint of an architecture or task that neither fairseq nor an imported folder has.

    Raises:
        UserError: which names them, and the folder that the checkpoint records.
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
        way_out = "it does not say which folder has it; name that with --user-dir DIR"
    else:
        way_out = (
            f"it was trained with --user-dir {names.user_dir}, which is not imported only because a checkpoint names "
            f"it. If you trust the folder, give it: --user-dir {names.user_dir}"
        )
    raise UserError(
        f"{path} is of {' and '.join(unknown)}, which fairseq does not have here: {way_out} (fairseq's commands take "
        "one, whose __init__.py has to `import fairseq_lskd.criterions` where it trains with a criterion of ours)"
    )
