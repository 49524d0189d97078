"""Describe the machine on which something is measured."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

from .compat.versions import devices


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Return the number of cores to compute on: OMP_NUM_THREADS, or all usable cores."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(given) if given.isdecimal() and int(given) else cores()


def machine() -> dict[str, Any]:
    """Return the processor, usable cores, memory and GPUs of this machine."""
    import torch

    return {
        "system": platform.system(),
        "cpu": _cpu(),
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": [device["name"] for device in devices(torch)],
    }


def _cpu() -> str:
    """Return the name of the processor. On Linux, Python's `platform` does not know it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()
