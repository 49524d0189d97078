"""A teacher that was trained: it gives padding no probability, and its translations end."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from tiny import batch, make_criterion, make_model, make_task, make_trainer, write


def learn(model: Any, criterion: Any, sample: dict[str, Any], updates: int) -> None:
    """Train a model on one batch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(updates):
        optimizer.zero_grad()
        loss, size, _ = criterion(model, sample)
        (loss / size).backward()
        optimizer.step()


@functools.cache
def trained_teacher(data: Path, seed: int = 1, updates: int = 150) -> Path:
    """Train a model on the tiny bitext of `data`. Return its checkpoint, which has the dictionaries beside it."""
    task = make_task(data)
    model = make_model(task, seed=seed, scale=1.0)
    criterion = make_criterion(task, "label_smoothed_teacher")
    learn(model, criterion, batch(task, range(60)), updates)
    folder = data.parent / f"trained-{seed}"
    path = write(folder / "checkpoint_best.pt", make_trainer(data, task, model, criterion))
    for name in ("dict.de.txt", "dict.en.txt"):
        (folder / name).write_bytes((data / name).read_bytes())
    return path
