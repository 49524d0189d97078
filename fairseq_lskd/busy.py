"""The load of other programs on the machine, which makes measured times unreliable."""

from __future__ import annotations

import contextlib
import time
from types import ModuleType

from .extras import is_installed

#: A measured time is doubtful if other programs keep more cores busy than this.
DOUBTFUL = 0.1


class Others:
    """Measure the mean number of cores that other programs keep busy, from the creation of this object."""

    def __init__(self) -> None:
        self._psutil = _psutil()
        self._start, (self._busy, self._ours) = time.monotonic(), self._seconds()

    def cores(self) -> float | None:
        """Return the mean number of cores until now; None if psutil is not installed."""
        if self._psutil is None:
            return None
        busy, ours = self._seconds()
        others = (busy - self._busy) - (ours - self._ours)
        return round(max(0.0, others / max(time.monotonic() - self._start, 1e-3)), 2)

    def _seconds(self) -> tuple[float, float]:
        """Return the CPU seconds of all programs, and those of this process and its children."""
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
    """Return a remark on a time that was measured beside other programs; an empty string if there were none."""
    return f"; other programs kept {cores:.1f} cores busy: doubtful" if cores and cores > DOUBTFUL else ""


def _psutil() -> ModuleType | None:
    if not is_installed("psutil"):
        return None
    import psutil

    return psutil
