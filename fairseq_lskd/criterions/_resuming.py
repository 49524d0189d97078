"""Compare the loss of a resumed training with its checkpoint: warn of another one, refuse one that cannot be loaded."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fairseq.trainer import Trainer
from omegaconf import OmegaConf

from ..errors import UserError, exit_on_user_error
from ..files import sha256
from ..teachers.cache import MANIFEST
from ..teachers.checkpoint import read_archive
from ..teachers.of_pairs import by_pair, paths_in

logger = logging.getLogger(__name__)

#: Options of criterions that do not change the value of the loss, only its computation or what is logged.
_WITHOUT_EFFECT = {"_name", "loss_form", "report_stability", "teacher_data", "teacher_process", "teacher_ahead"}
#: Parameters of our criterions, and the options that add them.
_ADDED_BY = {"anchor": ("kd_select", "kd_threshold"), "hidden_map": ("kd_hidden",)}
_FILES = {"teacher_path", "teacher_cache", "sequence_weights"}


def other_options(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return the options that differ and change the loss: (flag, value before, value now).

    Files with different names count as equal if both exist and have the same content.
    """
    names = [name for name in now if name in before and name not in _WITHOUT_EFFECT]
    return [
        (_flag(name), before[name], now[name])
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


class Before(NamedTuple):
    """What a checkpoint has of its criterion: options, and the names of parameters and buffers."""

    options: Any
    state: frozenset[str]


def read_before(path: str) -> Before | None:
    """Return the criterion of the checkpoint at `path`; None if `read_archive` cannot read the file."""
    try:
        archive = read_archive(path)
    except UserError:  # for example a shard of a checkpoint, which fairseq can read
        return None
    options = archive.get("cfg")
    state = archive.get("criterion")
    return Before(
        options.get("criterion") if isinstance(options, Mapping) else None,
        frozenset(state if isinstance(state, Mapping) else ()),
    )


def check_parameters(path: str, before: Before, trainer: Any) -> None:
    """Check that the optimiser's state in the checkpoint has all parameters of the criterion, and no others.

    Raises:
        UserError: if they differ; it names the options that changed.
    """
    parameters = {name for name, _ in trainer.get_criterion().named_parameters()}
    changed = [name for name in _ADDED_BY if (name in parameters) != (name in before.state)]
    now = _options_now(trainer)
    if not changed or not isinstance(before.options, Mapping) or before.options.get("_name") != now.get("_name"):
        return
    names = [name for parameter in changed for name in _ADDED_BY[parameter]]
    # Older versions lack an option.
    found = [(name, before.options.get(name), now[name]) for name in names if name in now]
    words = [f"{_flag(name)} {new} (before: {_shown(old)})" for name, old, new in found if new not in (None, old)]
    words += [f"no {_flag(name)} (before: {old})" for name, old, new in found if new is None and old is not None]
    what = ", ".join(words) or "this run's options"
    raise UserError(
        f"{path}: {what} changes the parameters of --criterion {now.get('_name')}, so the optimizer's state in the "
        "checkpoint does not fit. Give --reset-optimizer to go on from the checkpoint's weights, the same options as "
        "before, or a new --save-dir"
    )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _shown(value: Any) -> str:
    return "not given" if value is None else str(value)


def _options_now(trainer: Any) -> Mapping[str, Any]:
    found: Any = OmegaConf.to_container(trainer.cfg.criterion, resolve=True, enum_to_str=True)
    return found if isinstance(found, Mapping) else {}


def warn_of_another_loss(path: str, found: Before, trainer: Any) -> None:
    """Log a warning if the checkpoint at `path` was trained with other options of the trainer's criterion."""
    before, now = found.options, _options_now(trainer)
    if not isinstance(before, Mapping) or before.get("_name") != now.get("_name"):
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
        ours = hasattr(type(self.get_criterion()), "NAME")
        before = read_before(filename) if ours and not reset_optimizer and self.is_data_parallel_master else None
        if before is not None:
            with exit_on_user_error(f"--criterion {self.get_criterion().NAME}"):
                check_parameters(filename, before, self)
        extra_state = original(self, filename, reset_optimizer, *args, **kwargs)
        # With --reset-optimizer or --reset-meters a new training starts from old weights, and no best loss is kept.
        if extra_state is not None and before is not None and not kwargs.get("reset_meters", False):
            warn_of_another_loss(filename, before, self)
        return extra_state

    load_checkpoint.checks_the_loss = True  # type: ignore[attr-defined]  # a mark on a function
    Trainer.load_checkpoint = load_checkpoint
