"""The mean of a run's last checkpoints, which is a better model than the last (Vaswani et al., 2017, section 6.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..reading import COUNT, misfit
from .checkpoint import read_archive, without_copies
from .soundness import check_weights

#: As --save-interval-updates has them written: the epoch, and the updates.
BY_UPDATES = r"checkpoint_\d+_(\d+)\.pt"


def last_checkpoints(folder: Path, count: int, or_fewer: bool = False) -> list[Path]:
    """The newest `count` of a folder's numbered checkpoints: by updates if it has those, else by epochs.

    By updates, checkpoint_last.pt is one of them where it is newer: where a training's last update ends an epoch,
    fairseq writes no numbered one.

    Args:
        or_fewer: take what there is where there are not that many: most of either kind, or checkpoint_last.pt alone.

    Raises:
        UserError: if there are not that many; with `or_fewer`, if there is none.
    """
    last = folder / "checkpoint_last.pt"
    fewer: list[Path] = []
    for pattern in (BY_UPDATES, r"checkpoint(\d+)\.pt"):
        found = [(int(m[1]), p) for p in folder.glob("checkpoint*.pt") if (m := re.fullmatch(pattern, p.name))]
        if found and pattern is BY_UPDATES and last.is_file():
            history = read_archive(last).get("optimizer_history") or []
            whole = history and not misfit(history, [{"num_updates": COUNT}])
            updates = history[-1]["num_updates"] if whole else 0
            found += [(updates, last)] if updates > max(found)[0] else []
        newest = [path for _, path in sorted(found)[-count:]]
        if len(newest) == count:
            return newest
        fewer = max(fewer, newest, key=len)
    if or_fewer and (fewer or last.is_file()):
        return fewer or [last]
    raise UserError(
        f"{folder} has fewer than {count} numbered checkpoints to average: train with --save-interval-updates N "
        f"--keep-interval-updates {count}, or with --keep-last-epochs {count}. fairseq writes none at an update that "
        "ends an epoch: where N is a multiple of an epoch's updates, choose another. To take what there is: --or-fewer"
    )


def average_checkpoints(paths: Sequence[Path]) -> dict[str, Any]:
    """The last checkpoint with the mean of all checkpoints' weights, without optimizer state.

    Floating-point weights are averaged in float64 and keep their dtype; others (counters) are the last's. The unused
    copies of weights that fairseq 0.12 saves are left out: see `without_copies`.

    Raises:
        UserError: if one cannot be read, is of another model, or holds weights that are not numbers.
    """
    sums: dict[str, torch.Tensor] = {}
    state: dict[str, Any] = {}
    for path in paths:
        state = read_archive(path)
        state["model"] = without_copies(state["model"])
        check_weights(str(path), state["model"])
        shapes = {name: tuple(weight.shape) for name, weight in state["model"].items()}
        if sums and shapes != {name: tuple(weight.shape) for name, weight in sums.items()}:
            raise UserError(f"{path} is of another model than {paths[0]}: their weights have other names or shapes")
        for name, weight in state["model"].items():
            wide = weight.double() if weight.is_floating_point() else weight
            sums[name] = sums[name] + wide if name in sums and weight.is_floating_point() else wide
    last = state["model"]
    state["model"] = {
        name: (sums[name] / len(paths)).to(weight.dtype) if weight.is_floating_point() else weight
        for name, weight in last.items()
    }
    state.pop("last_optimizer_state", None)
    return state
