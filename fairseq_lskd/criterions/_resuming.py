"""A training that goes on with another loss than its checkpoint was trained with says so."""

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

logger = logging.getLogger(__name__)

#: Options of criterions that change how a loss is computed or what is logged, but not its value.
_WITHOUT_EFFECT = {"_name", "loss_form", "report_stability", "teacher_data"}
_FILES = {"teacher_path", "teacher_cache", "sequence_weights"}


def other_options(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """What tells two criterions' losses apart: the options (flag, value before, value now).

    Files of other names count as the same where both are there and hold the same.
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
    paths = [[_file(path) for path in str(joined).split(":")] for joined in (before, now)]
    if len(paths[0]) != len(paths[1]) or not all(path.is_file() for path in (*paths[0], *paths[1])):
        return False
    return all(one == other or sha256(one) == sha256(other) for one, other in zip(*paths, strict=True))


def _file(path: str) -> Path:
    """The file that says what is at a path: that of a cache, which is a folder, is its manifest."""
    return Path(path, MANIFEST) if Path(path).is_dir() else Path(path)


def warn_of_another_loss(path: str, trainer: Any) -> None:
    """Log a warning if the checkpoint at `path` was trained with other options of the trainer's criterion."""
    try:
        before = (read_archive(path).get("cfg") or {}).get("criterion")
    except UserError:  # a part of a sharded one, say, that fairseq reads
        return
    now: Any = OmegaConf.to_container(trainer.cfg.criterion, resolve=True, enum_to_str=True)
    if not isinstance(before, Mapping) or not isinstance(now, Mapping) or before.get("_name") != now.get("_name"):
        return
    if not (changes := other_options(before, now)):
        return
    then, here = (", ".join(f"{change[0]} {change[i]}" for change in changes) for i in (1, 2))
    best = (
        " checkpoint_best.pt is chosen by them: --reset-meters chooses it anew."
        if trainer.cfg.checkpoint.best_checkpoint_metric in ("loss", "kd_loss")
        else ""
    )
    logger.warning(
        f"{path} was trained with {then}; this run goes on with {here}. Losses before and after cannot be compared."
        f"{best} To train on as it began, give the same options; to keep both, another --save-dir."
    )


def watch() -> None:
    """Have fairseq's trainer look when it takes up a training; a second call changes nothing."""
    original = Trainer.load_checkpoint
    if getattr(original, "looks_at_the_loss", False):
        return

    @functools.wraps(original)
    def load_checkpoint(self: Any, filename: str, reset_optimizer: bool = False, *args: Any, **kwargs: Any) -> Any:
        extra_state = original(self, filename, reset_optimizer, *args, **kwargs)
        # With one of these a training begins anew, from weights of another, and no best loss is kept.
        anew = reset_optimizer or kwargs.get("reset_meters", False)
        ours = hasattr(type(self.get_criterion()), "NAME")
        if extra_state is not None and ours and not anew and self.is_data_parallel_master:
            warn_of_another_loss(filename, self)
        return extra_state

    load_checkpoint.looks_at_the_loss = True  # type: ignore[attr-defined]  # a mark on a function
    Trainer.load_checkpoint = load_checkpoint
