"""Load splits of binarised data, and find sentences with given token types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..teachers.task import load_split as read_split

#: Maximum number of sentences, spread over the split, to search for the token types of a plot.
SEARCHED = 50_000


def load_split(task: Any, split: str) -> Any:
    """Load the dataset of a split.

    Raises:
        UserError: if the split does not exist or is broken.
    """
    try:
        return read_split(task, split)
    except FileNotFoundError:
        source, target = task.cfg.source_lang, task.cfg.target_lang
        pairs = (f"{source}-{target}", f"{target}-{source}")  # fairseq reads data of either direction
        files = (path for pair in pairs for path in Path(task.cfg.data).glob(f"*.{pair}.{target}.idx"))
        there = ", ".join(sorted({path.name.split(".")[0] for path in files})) or "none"
        raise UserError(
            f"--split {split}: {task.cfg.data} has no such split for {pairs[0]}; expected one of {there}"
        ) from None


def holding(dataset: Any, types: list[int], most: int) -> np.ndarray:
    """Return sentences, spread over the dataset, with at least `most` occurrences of each type if possible."""
    total = len(dataset)
    order = np.unique(np.linspace(0, total - 1, min(total, SEARCHED)).astype(np.int64))
    # Shuffle, because a corpus may be sorted by topic.
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
