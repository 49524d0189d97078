"""Warn if a resumed training uses another loss than its checkpoint was trained with."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairseq.trainer import Trainer
from omegaconf import OmegaConf

from ..errors import UserError
from ..files import sha256
from ..teachers.cache import MANIFEST
from ..teachers.checkpoint import read_archive
from ..teachers.of_pairs import by_pair, paths_in

logger = logging.getLogger(__name__)

#: Options of criterions that do not change the value of the loss, only its computation or what is logged.
_WITHOUT_EFFECT = {"_name", "loss_form", "report_stability", "teacher_data", "teacher_process", "teacher_ahead"}
_FILES = {"teacher_path", "teacher_cache", "sequence_weights"}


def other_options(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return the options that differ and change the loss: (flag, value before, value now).

    Files with different names count as equal if both exist and have the same content.
    """
    names = [name for name in now if name in before and name not in _WITHOUT_EFFECT]
    return [
        (f"--{name.replace('_', '-')}", before[name], now[name])
        for name in names
        if before[name] != now[name] and not (name in _FILES and _same_files(before[name], now[name]))
    ]


def _same_files(before: Any, now: Any) -> bool:
    if before is None or now is None:
        return False
    try:
        pairs = [list(by_pair(str(joined)) or ()) for joined in (before, now)]
    except UserError:  # an option of a checkpoint may have any value
        return False
    paths = [[_file(path) for path in paths_in(str(joined))] for joined in (before, now)]
    if pairs[0] != pairs[1] or len(paths[0]) != len(paths[1]):
        return False
    if not all(path.is_file() for path in (*paths[0], *paths[1])):
        return False
    return all(one == other or sha256(one) == sha256(other) for one, other in zip(*paths, strict=True))


def _file(path: str) -> Path:
    """Return the file that identifies what is at `path`: the manifest of a cache, else the file itself."""
    return Path(path, MANIFEST) if Path(path).is_dir() else Path(path)


def warn_of_another_loss(path: str, trainer: Any) -> None:
    """Log a warning if the checkpoint at `path` was trained with other options of the trainer's criterion."""
    try:
        before = (read_archive(path).get("cfg") or {}).get("criterion")
    except UserError:  # for example a shard of a checkpoint, which fairseq can read
        return
    now: Any = OmegaConf.to_container(trainer.cfg.criterion, resolve=True, enum_to_str=True)
    if not isinstance(before, Mapping) or not isinstance(now, Mapping) or before.get("_name") != now.get("_name"):
        return
    if not (changes := other_options(before, now)):
        return
    then, here = (", ".join(f"{change[0]} {change[i]}" for change in changes) for i in (1, 2))
    best = (
        " checkpoint_best.pt is chosen by the loss: --reset-meters forgets the best loss so far."
        if trainer.cfg.checkpoint.best_checkpoint_metric in ("loss", "kd_loss")
        else ""
    )
    logger.warning(
        f"{path} was trained with {then}; this run continues with {here}. Losses before and after are not comparable."
        f"{best} To continue with the same loss, give the same options. To keep both trainings, give a new --save-dir."
    )


def watch() -> None:
    """Patch fairseq's trainer to check the loss when it loads a checkpoint; a second call changes nothing."""
    original = Trainer.load_checkpoint
    if getattr(original, "checks_the_loss", False):
        return

    @functools.wraps(original)
    def load_checkpoint(self: Any, filename: str, reset_optimizer: bool = False, *args: Any, **kwargs: Any) -> Any:
        extra_state = original(self, filename, reset_optimizer, *args, **kwargs)
        # With --reset-optimizer or --reset-meters a new training starts from old weights, and no best loss is kept.
        new_training = reset_optimizer or kwargs.get("reset_meters", False)
        ours = hasattr(type(self.get_criterion()), "NAME")
        if extra_state is not None and ours and not new_training and self.is_data_parallel_master:
            warn_of_another_loss(filename, self)
        return extra_state

    load_checkpoint.checks_the_loss = True  # type: ignore[attr-defined]  # a mark on a function
    Trainer.load_checkpoint = load_checkpoint
