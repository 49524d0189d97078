"""The stages, most valuable first, and the options of run.sh. Read before anything is installed: no other package."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .packed import PACK

#: Seconds of wall time that all of it takes at most, setting up included. A rehearsal takes two minutes on two idle
#: cores, and may take longer where others work.
TOTAL, REHEARSAL = 540, 420


@dataclass(frozen=True)
class Stage:
    """What is measured together, by the module of this package that has its name."""

    name: str
    about: str
    seconds: int  #: its limit; the last has what the others leave
    gib: int  #: memory of the GPU that it needs to be of use


STAGES = {
    stage.name: stage
    for stage in (
        Stage("exact", "losses, criterions, caches and files, against float64 and between GPU and CPU", 100, 8),
        Stage("loss", "time and memory of every form of the loss, beside the floor", 130, 32),
        Stage("students", "training speed without a teacher, beside one, from its cache", 110, 40),
        Stage("teachers", "caching and translating, against a bare forward pass and fairseq-generate", 90, 16),
        Stage("experiment", "Multi30k through the workflow, several trainings side by side", TOTAL, 16),
    )
}


def options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What run.sh was called with; `out`, `pack` and `stages` are ready to use."""
    parser = argparse.ArgumentParser(prog="run.sh")
    parser.add_argument("out", type=_path, metavar="OUT")
    parser.add_argument("--stages", type=_names, default=list(STAGES), metavar="NAME,NAME")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--pack", type=_path, default=PACK, metavar="DIR")
    return parser.parse_args(argv)


def _path(text: str) -> Path:
    """Relative to where run.sh was called."""
    return Path(os.environ.get("LSKD_GPU_CALLED_IN", "."), text).resolve()


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in STAGES]:
        raise argparse.ArgumentTypeError(f"no stage {', '.join(unknown)}: expected some of {', '.join(STAGES)}")
    if not names:
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(STAGES)}")
    return [name for name in STAGES if name in names]


def too_large(stage: Stage, free: int | None) -> str | None:
    """Why a stage is left out on a GPU with so many free bytes; None if it fits, or there is no GPU to fill."""
    if free is None or free >= stage.gib * 2**30:
        return None
    return f"it needs {stage.gib} GiB of the GPU's memory, {free / 2**30:.1f} are free"
