"""A training that was killed after its last checkpoint trains an update more when it is called again.

fairseq 0.12 looks at ``--max-update`` and ``--stop-time-hours`` only after an update. A checkpoint that had reached
them already is trained on: other weights, another average, and one checkpoint too many.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import math
import sys
from pathlib import Path
from typing import Any

NAME = "finished-trainings"
NEEDED_BY = "fairseq-train, called again after its last update, trains one update more than --max-update"
MODULE = "fairseq.checkpoint_utils"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"

#: What the loop over epochs asks before it trains, and nothing else.
LOOP = "while epoch_itr.next_epoch_idx <= max_epoch:"


def needed() -> bool:
    """Whether fairseq-train asks for the epoch alone before it trains."""
    spec = importlib.util.find_spec("fairseq_cli.train")
    return bool(spec and spec.origin and LOOP in Path(spec.origin).read_text(encoding="utf-8"))


def reached(trainer: Any) -> str | None:
    """The limit that a training has reached, in words."""
    options = trainer.cfg.optimization
    updates, wanted = trainer.get_num_updates(), options.max_update or math.inf
    if updates >= wanted:
        return f"num_updates: {updates} >= max_update: {wanted}"
    # The checkpoint's own time: with this call's added, workers could disagree about the end.
    hours, limit = trainer._previous_training_time / 3600, options.stop_time_hours
    return f"{hours:.2f} hours > stop_time_hours: {limit}" if 0 < limit < hours else None


class Ended:
    """In place of an iterator over epochs: no epoch is to come."""

    next_epoch_idx = math.nan  # neither below a --max-epoch nor below none, which is infinite


def apply() -> None:
    """Have ``load_checkpoint``, which fairseq-train calls before its loop, say so where nothing is left to train."""
    module: Any = sys.modules[MODULE]
    original = module.load_checkpoint
    if getattr(original, "knows_the_end", False):
        return

    @functools.wraps(original)
    def load_checkpoint(cfg: Any, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        extra_state, epoch_itr = original(cfg, trainer, *args, **kwargs)
        if extra_state is not None and (limit := reached(trainer)):
            logging.getLogger(module.__name__).info(f"nothing is left to train: {limit}")
            return extra_state, Ended()
        return extra_state, epoch_itr

    load_checkpoint.knows_the_end = True  # type: ignore[attr-defined]  # a mark on a function
    module.load_checkpoint = load_checkpoint
