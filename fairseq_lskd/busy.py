"""How busy other programs keep the machine: what makes a measured time doubtful."""

from __future__ import annotations

import contextlib
import time
from types import ModuleType

from .extras import is_installed

#: More cores than this kept busy by others, and a time is doubtful.
DOUBTFUL = 0.1


class Others:
    """Cores that other programs keep busy from now on, on average."""

    def __init__(self) -> None:
        self._psutil = _psutil()
        self._start, (self._busy, self._ours) = time.monotonic(), self._seconds()

    def cores(self) -> float | None:
        """So many so far; None where psutil, which counts them, is not installed."""
        if self._psutil is None:
            return None
        busy, ours = self._seconds()
        others = (busy - self._busy) - (ours - self._ours)
        return round(max(0.0, others / max(time.monotonic() - self._start, 1e-3)), 2)

    def _seconds(self) -> tuple[float, float]:
        """Seconds that the machine's cores have worked for all programs, and for this one and those it started."""
        if self._psutil is None:
            return 0.0, 0.0
        times = self._psutil.cpu_times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
        me = self._psutil.Process()
        ours = 0.0
        for process in (me, *me.children(recursive=True)):
            with contextlib.suppress(self._psutil.NoSuchProcess):
                own = process.cpu_times()
                ours += own.user + own.system + own.children_user + own.children_system
        return busy, ours


def doubt(cores: float | None) -> str:
    """What is said of a time that was measured beside other programs, else nothing."""
    return f"; other programs kept {cores:.1f} cores busy: doubtful" if cores and cores > DOUBTFUL else ""


def _psutil() -> ModuleType | None:
    if not is_installed("psutil"):
        return None
    import psutil

    return psutil
