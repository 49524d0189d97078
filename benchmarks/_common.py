"""What the benchmarks share: where they ran, quartiles, rows of JSON."""

from __future__ import annotations

import contextlib
import json
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil

from fairseq_lskd import __version__
from fairseq_lskd.compat.versions import PACKAGES
from fairseq_lskd.files import write_beside


def versions(*packages: str) -> dict[str, str | None]:
    """Versions of Python, this project and these packages."""
    found = {name: PACKAGES[name].version() for name in ("torch", "fairseq", "numpy", *packages)}
    return {"python": platform.python_version(), "fairseq_lskd": __version__, **found}


def quartiles(values: Sequence[float]) -> list[float]:
    """First quartile, median, third quartile; of one value three times that."""
    if len(values) == 1:
        return [values[0]] * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def four(value: float) -> float:
    """To four significant digits."""
    return float(f"{value:.4g}")


def spread(name: str, values: Sequence[float]) -> dict[str, Any]:
    """`name_median` and `name_quartiles`."""
    low, median, high = (four(value) for value in quartiles(values))
    return {f"{name}_median": median, f"{name}_quartiles": [low, high]}


class Others:
    """Cores that other programs keep busy from now on, on average: what makes times of this machine doubtful."""

    def __init__(self) -> None:
        self._start, self._busy, self._ours = time.monotonic(), _busy(), _ours()

    def cores(self) -> float:
        """So many so far."""
        others = (_busy() - self._busy) - (_ours() - self._ours)
        return round(max(0.0, others / (time.monotonic() - self._start)), 2)


def doubt(rows: Iterable[dict[str, Any]]) -> str:
    """What a table says of rows that were measured beside other programs, else nothing. Older rows do not tell."""
    others = max((row.get("others_cores", 0.0) for row in rows), default=0.0)
    return f"; other programs kept {others:.1f} cores busy: doubtful" if others > 0.1 else ""


def _busy() -> float:
    """Seconds that the machine's cores have worked, all programs together."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


def _ours() -> float:
    """Seconds that this process and those that it has started have worked."""
    me = psutil.Process()
    found = 0.0
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            found += times.user + times.system + times.children_user + times.children_system
    return found


def command() -> str:
    """The command line that runs."""
    return shlex.join(["python", *sys.argv])


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """A JSON list, one row a line."""
    with write_beside(path) as part:
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        part.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
