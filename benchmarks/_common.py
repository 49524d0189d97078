"""Shared functions of the benchmarks: versions, quartiles, and rows of JSON."""

from __future__ import annotations

import json
import platform
import shlex
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fairseq_lskd import __version__, busy
from fairseq_lskd.busy import Others
from fairseq_lskd.compat.versions import PACKAGES
from fairseq_lskd.files import write_beside

__all__ = ["Others", "command", "doubt", "four", "quartiles", "spread", "versions", "write_rows"]


def versions(*packages: str) -> dict[str, str | None]:
    """Return the versions of Python, this project and some packages."""
    found = {name: PACKAGES[name].version() for name in ("torch", "fairseq", "numpy", *packages)}
    return {"python": platform.python_version(), "fairseq_lskd": __version__, **found}


def quartiles(values: Sequence[float]) -> list[float]:
    """Return the first quartile, median and third quartile. A single value is all three."""
    if len(values) == 1:
        return [values[0]] * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def four(value: float) -> float:
    """Round to four significant digits."""
    return float(f"{value:.4g}")


def spread(name: str, values: Sequence[float]) -> dict[str, Any]:
    """Return `NAME_median` and `NAME_quartiles` of values."""
    low, median, high = (four(value) for value in quartiles(values))
    return {f"{name}_median": median, f"{name}_quartiles": [low, high]}


def doubt(rows: Iterable[dict[str, Any]]) -> str:
    """Return a remark if other programs used the cores during the measurement, else "". Older rows have no data."""
    return busy.doubt(max((row.get("others_cores") or 0.0 for row in rows), default=0.0))


def command() -> str:
    """Return the command line of this process."""
    return shlex.join(["python", *sys.argv])


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write a JSON list with one row per line."""
    with write_beside(path) as part:
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        part.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
