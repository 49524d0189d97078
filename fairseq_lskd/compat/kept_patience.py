"""With ``--patience``, a training that is killed and called again ends later than one that was not.

fairseq 0.12 counts validations without a better one in memory alone. Here the count goes into every checkpoint, and
from there into the training that takes it up. A training that patience had ended already trains no more.
"""

from __future__ import annotations

import functools
import logging
import sys
from typing import Any

from .finished_trainings import Ended

NAME = "kept-patience"
NEEDED_BY = "a training with --patience that is killed begins to count anew, and ends later than one that was not"
MODULE = "fairseq.trainer"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"

#: Under this name in a checkpoint's extra_state.
KEY = "patience"


def counter() -> Any:
    """fairseq-train's function that counts, in its own attributes; None in a process that does not train.

    Under torchrun the command is __main__.
    """
    for name in ("fairseq_cli.train", "__main__"):
        if (found := getattr(sys.modules.get(name), "should_stop_early", None)) is not None:
            return found
    return None


def needed() -> bool:
    """Whether fairseq's trainer saves no count: as long as no release does."""
    module: Any = sys.modules[MODULE]
    return "num_runs" not in module.Trainer.save_checkpoint.__code__.co_names


def apply() -> None:
    """Have ``Trainer.save_checkpoint`` save the count, and ``load_checkpoint`` of fairseq-train take it up again."""
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
        # As fairseq's own best value: not of a checkpoint whose weights begin another training.
        if not isinstance(kept, dict) or getattr(utils.save_checkpoint, "best", None) != extra_state.get("best"):
            return extra_state, epoch_itr
        if cfg.patience <= 0 or (count := counter()) is None:
            return extra_state, epoch_itr
        count.best, count.num_runs = kept["best"], kept["count"]
        if count.num_runs >= cfg.patience:
            said = f"validation has not improved for {count.num_runs} runs >= patience: {cfg.patience}"
            logging.getLogger(utils.__name__).info(f"nothing is left to train: {said}")
            return extra_state, Ended()
        return extra_state, epoch_itr

    save_checkpoint.keeps_patience = True  # type: ignore[attr-defined]  # a mark on a function
    trainer.save_checkpoint, utils.load_checkpoint = save_checkpoint, load_checkpoint
