"""Average the last checkpoints of a training (Vaswani et al., 2017, section 6.1)."""

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

#: Names of checkpoints of --save-interval-updates: epoch and number of updates.
BY_UPDATES = r"checkpoint_\d+_(\d+)\.pt"


def last_checkpoints(folder: Path, count: int, or_fewer: bool = False) -> list[Path]:
    """Return the newest `count` numbered checkpoints of a folder: those by updates if it has any, else by epochs.

    checkpoint_last.pt counts as a checkpoint by updates if it is newer than the others, because fairseq writes no
    numbered checkpoint if the last update ends an epoch.

    Args:
        or_fewer: if there are fewer, return the kind with more checkpoints, or checkpoint_last.pt alone.

    Raises:
        UserError: if there are fewer; with `or_fewer`, if there is no checkpoint.
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
        f"{folder} has fewer than {count} numbered checkpoints to average. Train with --save-interval-updates N "
        f"--keep-interval-updates {count}, or with --keep-last-epochs {count}. fairseq writes no numbered checkpoint "
        "at an update that ends an epoch, so N must not be a multiple of the updates per epoch. To average the "
        "checkpoints that exist, give --or-fewer"
    )


def average_checkpoints(paths: Sequence[Path]) -> dict[str, Any]:
    """Return the last checkpoint with the mean of all checkpoints' weights, without optimizer state.

    Floating-point weights are averaged in float64 and keep their dtype. Other tensors (counters) are those of the last
    checkpoint. Unused copies of weights are left out: see `without_copies`.

    Raises:
        UserError: if a checkpoint cannot be read, is of another model, or has NaN or infinite weights.
    """
    sums: dict[str, torch.Tensor] = {}
    state: dict[str, Any] = {}
    for path in paths:
        state = read_archive(path)
        state["model"] = without_copies(state["model"])
        check_weights(str(path), state["model"])
        shapes = {name: tuple(weight.shape) for name, weight in state["model"].items()}
        if sums and shapes != {name: tuple(weight.shape) for name, weight in sums.items()}:
            raise UserError(f"{path} is of another model than {paths[0]}: names or shapes of their weights differ")
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
