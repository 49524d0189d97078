"""A number that follows a schedule over a training's updates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

#: By name: of the share of the schedule that is over, in [0, 1], the share of the way that is gone.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda share: share,
    # Half a period: slow at both ends (Loshchilov & Hutter, ICLR 2017, SGDR, equation 5, without restarts).
    "cosine": lambda share: (1 - math.cos(math.pi * share)) / 2,
}


@dataclass(frozen=True)
class Schedule:
    """From `start` at update 0 to `end` at update `updates`, and `end` ever after.

    The value depends on the number of the update alone, so that a resumed training has what it would have had.
    """

    start: float
    end: float
    updates: int  #: 1 or more
    kind: str  #: one of `SCHEDULES`

    def at(self, update: int) -> float:
        """The value for the loss of this update, counted from 0."""
        share = min(1.0, update / self.updates)
        return self.end if share == 1 else self.start + (self.end - self.start) * SCHEDULES[self.kind](share)
