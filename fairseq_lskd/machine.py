"""The machine that something was measured on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

from .compat.versions import devices


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Cores to compute on: as many as OMP_NUM_THREADS says, which several jobs on one machine share it by."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(given) if given.isdecimal() and int(given) else cores()


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
