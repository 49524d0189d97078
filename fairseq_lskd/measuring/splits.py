"""Splits of binarised data: which target token types are in them, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..teachers.task import load_split as read_split

#: Sentences that are searched for the token types of a picture, spread over the split.
SEARCHED = 50_000


def load_split(task: Any, split: str) -> Any:
    """The dataset of a split.

    Raises:
        UserError: if the data has no such split, or it is broken.
    """
    try:
        return read_split(task, split)
    except FileNotFoundError:
        pair = f"{task.cfg.source_lang}-{task.cfg.target_lang}"
        files = Path(task.cfg.data).glob(f"*.{pair}.{task.cfg.target_lang}.idx")
        there = ", ".join(sorted(path.name.split(".")[0] for path in files)) or "none"
        raise UserError(f"--split {split}: {task.cfg.data} has no such split of {pair}; it has: {there}") from None


def holding(dataset: Any, types: list[int], most: int) -> np.ndarray:
    """Sentences in which each of the types occurs `most` times if there are so many, spread over the dataset."""
    total = len(dataset)
    order = np.unique(np.linspace(0, total - 1, min(total, SEARCHED)).astype(np.int64))
    # Not in the corpus's order, which may go by subject.
    order = np.random.default_rng(1).permutation(order)
    wanted, found = dict.fromkeys(types, most), []
    for i in order:
        here = dataset.tgt[i].numpy()
        useful = False
        for kind in [kind for kind, left in wanted.items() if left > 0]:
            if occurs := int((here == kind).sum()):
                wanted[kind] -= occurs
                useful = True
        if useful:
            found.append(i)
        if all(left <= 0 for left in wanted.values()):
            break
    return np.sort(np.array(found, dtype=np.int64))
