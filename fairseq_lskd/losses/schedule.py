"""Schedules of a number over the updates of a training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

#: Shapes by name: functions from the elapsed share of the updates, in [0, 1], to the share of the change.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda share: share,
    # Half a period of a cosine (Loshchilov & Hutter, ICLR 2017, SGDR, equation 5, without restarts).
    "cosine": lambda share: (1 - math.cos(math.pi * share)) / 2,
}


@dataclass(frozen=True)
class Schedule:
    """A number that changes from `start` at update 0 to `end` at update `updates`, and then stays at `end`.

    The value depends only on the number of the update, so a resumed training has the same values.
    """

    start: float
    end: float
    updates: int  #: 1 or more
    kind: str  #: one of `SCHEDULES`

    def at(self, update: int) -> float:
        """Return the value at an update, counted from 0."""
        share = min(1.0, update / self.updates)
        return self.end if share == 1 else self.start + (self.end - self.start) * SCHEDULES[self.kind](share)
