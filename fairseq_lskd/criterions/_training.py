"""Pass the student, the numbers of updates and epochs, and an epoch's batches from fairseq's trainer to a criterion."""

from __future__ import annotations

import functools
from typing import Any

from fairseq.trainer import Trainer

from ..errors import UserError, exit_on_user_error
from ._distillation import DistillationCriterion
from ._smoothing import SmoothingCriterion, check_left_to_right


def watch() -> None:
    """Patch fairseq's trainer to inform our criterions; a second call changes nothing."""
    init, set_num_updates, begin_epoch = Trainer.__init__, Trainer.set_num_updates, Trainer.begin_epoch
    begin_valid_epoch, reduce_and_log = Trainer.begin_valid_epoch, Trainer._reduce_and_log_stats
    get_train_iterator = Trainer.get_train_iterator
    if getattr(init, "informs_the_criterion", False):
        return

    @functools.wraps(init)
    def informing_init(self: Any, cfg: Any, task: Any, model: Any, criterion: Any, *args: Any, **kwargs: Any) -> None:
        # `begin` may add a parameter, so it comes before the trainer moves the criterion and collects parameters.
        if isinstance(criterion, SmoothingCriterion):
            with exit_on_user_error(f"--criterion {criterion.NAME}"):
                check_left_to_right(model)
        if isinstance(criterion, DistillationCriterion):
            with exit_on_user_error(f"--criterion {criterion.NAME}"):
                if criterion.ahead is not None and cfg.dataset.disable_validation:
                    raise UserError(
                        f"--kd-threshold {criterion.cfg.kd_threshold} compares student and teacher in validation. "
                        "Leave out --disable-validation, or --kd-threshold"
                    )
                criterion.begin(model, cfg.optimization.max_update)
        init(self, cfg, task, model, criterion, *args, **kwargs)

    @functools.wraps(set_num_updates)
    def informing_set_num_updates(self: Any, num_updates: int) -> None:
        set_num_updates(self, num_updates)
        # fairseq also calls set_num_updates after it loads a checkpoint.
        if isinstance(criterion := self.get_criterion(), DistillationCriterion):
            criterion.update = num_updates

    @functools.wraps(get_train_iterator)
    def remembering_get_train_iterator(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.epoch_iterator = get_train_iterator(self, *args, **kwargs)
        return self.epoch_iterator

    @functools.wraps(begin_epoch)
    def informing_begin_epoch(self: Any, epoch: int) -> None:
        if isinstance(criterion := self.get_criterion(), DistillationCriterion):
            # fairseq has made the order of this epoch's batches, and the iterator has returned none of them.
            sampler = getattr(getattr(self, "epoch_iterator", None), "batch_sampler", None)
            with exit_on_user_error(f"--criterion {criterion.NAME}"):
                criterion.begin_epoch(epoch, self.model, getattr(sampler, "batches", None))
        begin_epoch(self, epoch)

    @functools.wraps(begin_valid_epoch)
    def informing_begin_valid_epoch(self: Any, epoch: int) -> None:
        if isinstance(criterion := self.get_criterion(), DistillationCriterion):
            criterion.begin_validation()
        begin_valid_epoch(self, epoch)

    @functools.wraps(reduce_and_log)
    def informing_reduce_and_log(self: Any, logging_outputs: Any, *args: Any, **kwargs: Any) -> Any:
        # The only method that gets the sums of all workers.
        criterion = self.get_criterion()
        if isinstance(criterion, DistillationCriterion) and not criterion.training:
            criterion.validated(logging_outputs)
        return reduce_and_log(self, logging_outputs, *args, **kwargs)

    informing_init.informs_the_criterion = True  # type: ignore[attr-defined]  # a mark on a function
    Trainer.__init__ = informing_init
    Trainer.set_num_updates, Trainer.begin_epoch = informing_set_num_updates, informing_begin_epoch
    Trainer.begin_valid_epoch, Trainer._reduce_and_log_stats = informing_begin_valid_epoch, informing_reduce_and_log
    Trainer.get_train_iterator = remembering_get_train_iterator
