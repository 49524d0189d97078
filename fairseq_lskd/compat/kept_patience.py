"""``--patience`` in resumed trainings: fairseq 0.12 starts to count again, so a resumed training ends later.

fairseq 0.12 keeps the number of validations without improvement only in memory. The patch saves it in every checkpoint
and restores it when the training is resumed. A training that patience has ended does not train any more.
"""

from __future__ import annotations

import functools
import logging
import sys
from typing import Any

from .finished_trainings import Ended

NAME = "kept-patience"
NEEDED_BY = "a resumed training with --patience starts to count again, and ends later than an uninterrupted one"
MODULE = "fairseq.trainer"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"

#: The key of the count in a checkpoint's extra_state.
KEY = "patience"


def counter() -> Any:
    """Return fairseq-train's function that counts in its attributes; None in a process that does not train."""
    for name in ("fairseq_cli.train", "__main__"):  # the command is __main__ under torchrun
        if (found := getattr(sys.modules.get(name), "should_stop_early", None)) is not None:
            return found
    return None


def needed() -> bool:
    """Whether fairseq's trainer does not save the count itself; no release does yet."""
    module: Any = sys.modules[MODULE]
    return "num_runs" not in module.Trainer.save_checkpoint.__code__.co_names


def apply() -> None:
    """Make ``Trainer.save_checkpoint`` save the count, and fairseq-train's ``load_checkpoint`` restore it."""
    module: Any = sys.modules[MODULE]
    trainer, utils = module.Trainer, module.checkpoint_utils
    save, load = trainer.save_checkpoint, utils.load_checkpoint
    if getattr(save, "keeps_patience", False):
        return

    @functools.wraps(save)
    def save_checkpoint(self: Any, filename: Any, extra_state: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if self.cfg.checkpoint.patience > 0 and (best := getattr(counter(), "best", None)) is not None:
            extra_state = {**extra_state, KEY: {"best": best, "count": counter().num_runs}}
        return save(self, filename, extra_state, *args, **kwargs)

    @functools.wraps(load)
    def load_checkpoint(cfg: Any, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        extra_state, epoch_itr = load(cfg, trainer, *args, **kwargs)
        kept = (extra_state or {}).get(KEY)
        # Restored only together with fairseq's best value, so not if the checkpoint starts a new training.
        if not isinstance(kept, dict) or getattr(utils.save_checkpoint, "best", None) != extra_state.get("best"):
            return extra_state, epoch_itr
        if cfg.patience <= 0 or (count := counter()) is None:
            return extra_state, epoch_itr
        count.best, count.num_runs = kept["best"], kept["count"]
        if count.num_runs >= cfg.patience:
            reason = f"validation has not improved for {count.num_runs} runs >= patience: {cfg.patience}"
            logging.getLogger(utils.__name__).info(f"nothing is left to train: {reason}")
            return extra_state, Ended()
        return extra_state, epoch_itr

    save_checkpoint.keeps_patience = True  # type: ignore[attr-defined]  # a mark on a function
    trainer.save_checkpoint, utils.load_checkpoint = save_checkpoint, load_checkpoint
