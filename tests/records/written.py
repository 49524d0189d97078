"""Write logs with fairseq's own progress bars, and run folders as `lskd run` does."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fairseq.logging.progress_bar import logger, progress_bar

PLAIN = logging.Formatter("%(asctime)s | %(levelname)s | %(name)s | %(message)s")
#: The format of fairseq-hydra-train.
HYDRA = logging.Formatter("[%(asctime)s][%(name)s][%(levelname)s] - %(message)s")


def log_text(
    updates: Iterable[int], values: Callable[[int], float], form: str = "json", formatter: logging.Formatter = PLAIN
) -> str:
    """Return a log with `loss` and `nll_loss` of these updates: epochs of 4 updates, each with a validation."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        logger.info("loading train data")
        for update in updates:
            epoch = (update - 1) // 4 + 1
            bar = progress_bar(range(4), log_format=form, log_interval=1, epoch=epoch)
            bar.i, bar.size = (update - 1) % 4, 4
            bar.log({"loss": values(update), "num_updates": update, "lr": None}, tag="train_inner", step=update)
            if update % 4 == 0:
                bar = progress_bar([], log_format=form, epoch=epoch, prefix="valid on 'valid' subset")
                stats = {"loss": values(update) + 1, "nll_loss": values(update) + 0.5, "num_updates": update}
                bar.print(stats, tag="valid", step=update)
                bar = progress_bar(range(4), log_format=form, epoch=epoch)
                bar.print({"loss": values(update) - 1, "num_updates": update}, tag="train", step=update)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return stream.getvalue()


def write_run(folder: Path, points: dict[tuple[str, str], Callable[[int], float]], **labels: Any) -> Path:
    """Write a run with these curves (30 points, 10 updates apart) and labels.

    The special labels `command` and `program` are the options of the run's command and the words before them.
    """
    command = [*labels.pop("program", ("fairseq-train", "data/bin")), *labels.pop("command", ())]
    folder.mkdir(parents=True)
    record = {"command": [*command, "--save-dir", str(folder)], "inputs": {}, "seconds": 1.0, "labels": labels}
    (folder / "run.json").write_text(json.dumps(record))
    lines = []
    for update in range(10, 301, 10):
        for subset, tag, prefix in (("train", "train_inner", ""), ("valid", "valid", "valid_")):
            stats = {prefix + metric: str(f(update)) for (kind, metric), f in points.items() if kind == subset}
            if stats:
                stats[f"{prefix}num_updates"] = str(update)
                lines.append(f"2026-01-01 00:00:00 | INFO | {tag} | {json.dumps(stats)}\n")
    (folder / "log.txt").write_text("".join(lines))
    return folder
