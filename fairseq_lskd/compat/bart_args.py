"""``--task translation_from_pretrained_bart`` fails at once with fairseq 0.12.

The task reads its options from ``self.args``, but its base class, fairseq's translation task, has only ``self.cfg``.
"""

from __future__ import annotations

import sys
from typing import Any

NAME = "bart-args"
NEEDED_BY = "--task translation_from_pretrained_bart fails (\"object has no attribute 'args'\")"
MODULE = "fairseq.tasks.translation_from_pretrained_bart"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"


def task() -> Any:
    return sys.modules[MODULE].TranslationFromPretrainedBARTTask


def needed() -> bool:
    """Whether the task reads ``args`` and has no such attribute."""
    kind = task()
    names = {name for part in kind.__mro__[:-1] if "__init__" in vars(part) for name in part.__init__.__code__.co_names}
    return "args" in kind.load_dataset.__code__.co_names and "cfg" in names and not hasattr(kind, "args")


def apply() -> None:
    task().args = property(lambda self: self.cfg)
