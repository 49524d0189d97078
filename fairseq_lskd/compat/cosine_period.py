"""``--lr-scheduler cosine`` with ``--max-update`` equal to ``--warmup-updates``: fairseq 0.12 divides by zero.

Without ``--lr-period-updates`` the schedule has the updates that are left after the warm-up, here none. fairseq divides
by their number after the last update, so the training fails at its end. The patch makes the schedule one update long.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

NAME = "cosine-period"
NEEDED_BY = "a training by the cosine schedule whose warm-up takes all updates fails after the last update"
MODULE = "fairseq.optim.lr_scheduler.cosine_lr_scheduler"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"


def needed() -> bool:
    """Whether fairseq's schedule divides by its length; all releases do."""
    module: Any = sys.modules[MODULE]
    return "period" in module.CosineLRSchedule.step_update.__code__.co_names


def apply() -> None:
    """Replace a length of 0 updates by 1."""
    module: Any = sys.modules[MODULE]
    schedule = module.CosineLRSchedule
    original = schedule.__init__
    if getattr(original, "has_period", False):
        return

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.period = self.period or 1

    init.has_period = True  # type: ignore[attr-defined]  # a mark on a function
    schedule.__init__ = init
