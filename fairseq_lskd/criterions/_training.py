"""What fairseq's trainer tells a criterion of ours: first the student and the budget, then epochs and updates."""

from __future__ import annotations

import functools
from typing import Any

from fairseq.trainer import Trainer

from ..errors import exit_on_user_error
from ._distillation import DistillationCriterion


def watch() -> None:
    """Have fairseq's trainer tell; a second call changes nothing."""
    init, set_num_updates, begin_epoch = Trainer.__init__, Trainer.set_num_updates, Trainer.begin_epoch
    if getattr(init, "tells_the_criterion", False):
        return

    @functools.wraps(init)
    def told_init(self: Any, cfg: Any, task: Any, model: Any, criterion: Any, *args: Any, **kwargs: Any) -> None:
        # Before the trainer copies the criterion to its device, and asks it for parameters.
        if isinstance(criterion, DistillationCriterion):
            with exit_on_user_error(f"--criterion {criterion.NAME}"):
                criterion.begin(model, cfg.optimization.max_update)
        init(self, cfg, task, model, criterion, *args, **kwargs)

    @functools.wraps(set_num_updates)
    def told_set_num_updates(self: Any, num_updates: int) -> None:
        set_num_updates(self, num_updates)
        # Also after a checkpoint was loaded.
        if isinstance(criterion := self.get_criterion(), DistillationCriterion):
            criterion.update = num_updates

    @functools.wraps(begin_epoch)
    def told_begin_epoch(self: Any, epoch: int) -> None:
        if isinstance(criterion := self.get_criterion(), DistillationCriterion):
            criterion.epoch = epoch
        begin_epoch(self, epoch)

    told_init.tells_the_criterion = True  # type: ignore[attr-defined]  # a mark on a function
    Trainer.__init__, Trainer.set_num_updates, Trainer.begin_epoch = told_init, told_set_num_updates, told_begin_epoch
