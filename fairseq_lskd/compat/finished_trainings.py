"""A finished training that is called again trains one more update.

fairseq 0.12 checks ``--max-update`` and ``--stop-time-hours`` only after an update. If a checkpoint has already reached
a limit, the training continues for one update: it changes the weights and writes one more checkpoint.
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
NEEDED_BY = "fairseq-train that is called again after the end of a training trains one update more than --max-update"
MODULE = "fairseq.checkpoint_utils"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"

#: The only condition that fairseq-train checks before it trains an epoch.
LOOP = "while epoch_itr.next_epoch_idx <= max_epoch:"


def needed() -> bool:
    """Whether fairseq-train checks only the number of the epoch before it trains."""
    spec = importlib.util.find_spec("fairseq_cli.train")
    return bool(spec and spec.origin and LOOP in Path(spec.origin).read_text(encoding="utf-8"))


def reached(trainer: Any) -> str | None:
    """Describe the limit that a training has reached; None if it has reached none."""
    options = trainer.cfg.optimization
    updates, wanted = trainer.get_num_updates(), options.max_update or math.inf
    if updates >= wanted:
        return f"num_updates: {updates} >= max_update: {wanted}"
    # Only the time in the checkpoint counts. With the time of this process, workers could disagree about the end.
    hours, limit = trainer._previous_training_time / 3600, options.stop_time_hours
    return f"{hours:.2f} hours > stop_time_hours: {limit}" if 0 < limit < hours else None


class Ended:
    """A substitute for the iterator over epochs, without further epochs."""

    next_epoch_idx = math.nan  # nan <= max_epoch is false, also if max_epoch is infinite


def apply() -> None:
    """Make ``load_checkpoint``, which fairseq-train calls before its loop, return no epochs for a finished training."""
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
