"""What the benchmarks share: where they ran, quartiles, rows of JSON."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fairseq_lskd import __version__
from fairseq_lskd.compat.versions import PACKAGES, devices
from fairseq_lskd.files import write_beside


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """Processor, usable cores, memory and GPUs of this machine."""
    import torch

    return {
        "system": platform.system(),
        "cpu": _cpu(),
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": [device["name"] for device in devices(torch)],
    }


def _cpu() -> str:
    """The processor's name; Python knows it on some systems only."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


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


def command() -> str:
    """The command line that runs."""
    return shlex.join(["python", *sys.argv])


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """A JSON list, one row a line."""
    with write_beside(path) as part:
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        part.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
