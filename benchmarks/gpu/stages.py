"""The stages, most valuable first, and the options of run.sh.

This module is imported before anything is installed, so it uses only the standard library.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .packed import PACK

#: Maximum wall time in seconds, with the setup. A rehearsal takes two minutes on two idle cores.
TOTAL, REHEARSAL = 540, 420


@dataclass(frozen=True)
class Stage:
    """A group of measurements, made by the module of the same name."""

    name: str
    about: str
    seconds: int  #: time limit; the last stage has the remaining time
    gib: int  #: required free memory of the GPU


STAGES = {
    stage.name: stage
    for stage in (
        Stage("exact", "errors of losses and criterions; caches and files between GPU and CPU", 100, 8),
        Stage("loss", "time and memory of every form of the loss, and lower bounds", 130, 32),
        Stage("students", "training speed without a teacher, with one, and with its cache", 110, 40),
        Stage("teachers", "speed of caching and translating", 90, 16),
        Stage("experiment", "Multi30k through the workflow, with parallel trainings", TOTAL, 16),
    )
}


def options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the options of run.sh."""
    parser = argparse.ArgumentParser(prog="run.sh")
    parser.add_argument("out", type=_path, metavar="OUT", help="output folder for the rows")
    parser.add_argument(
        "--stages", type=_names, default=list(STAGES), metavar="NAME,NAME", help="stages to run (default: all)"
    )
    parser.add_argument("--rehearse", action="store_true", help="run all stages at toy size on a CPU")
    parser.add_argument(
        "--pack", type=_path, default=PACK, metavar="DIR", help="packed folder (default: benchmarks/gpu/pack)"
    )
    return parser.parse_args(argv)


def _path(text: str) -> Path:
    """Resolve a path relative to the folder in which run.sh was called."""
    return Path(os.environ.get("LSKD_GPU_CALLED_IN", "."), text).resolve()


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in STAGES]:
        raise argparse.ArgumentTypeError(f"found unknown stages {', '.join(unknown)}, expected {', '.join(STAGES)}")
    if not names:
        raise argparse.ArgumentTypeError(f"expected at least one of {', '.join(STAGES)}")
    return [name for name in STAGES if name in names]


def too_large(stage: Stage, free: int | None) -> str | None:
    """Return why a stage does not fit into the free bytes of the GPU; None if it fits, or without a GPU."""
    if free is None or free >= stage.gib * 2**30:
        return None
    return f"it needs {stage.gib} GiB of GPU memory, found {free / 2**30:.1f} GiB free"
