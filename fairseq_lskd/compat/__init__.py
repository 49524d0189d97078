"""What makes an unmodified fairseq 0.12 run on today's Python, torch, NumPy and Hydra.

Each mend is a module of its own with

    NAME         what ``LSKD_COMPAT_SKIP`` and ``lskd doctor`` call it
    NEEDED_BY    one line: what fails, and with which versions
    MODULES      the modules whose import it belongs to
    WHEN         "before" or "after" each of them is executed
    needed()     whether this Python, torch and fairseq need it, by looking at what they do
    apply()      do it; a second call changes nothing

``_fairseq_lskd_hook`` loads this package under a private name when fairseq is first imported, so
nothing here may import the rest of ``fairseq_lskd``, and fairseq and torch only inside functions.
``LSKD_COMPAT_SKIP=name,name`` (or ``all``) in the environment leaves mends out.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from types import ModuleType
from typing import Any

from . import (
    archive_members,
    bart_args,
    bf16_on_gpu,
    checkpoint_copies,
    checkpoint_globals,
    dataclass_defaults,
    encoder_fastpath,
    evaluated_options,
    finished_trainings,
    kept_patience,
    last_batch,
    library_warnings,
    numpy_removals,
    openmp,
    pytorch_ddp,
    score_files,
    tensorboardx_notice,
    torch_version,
    unknown_names,
)

MENDS: tuple[Any, ...] = (
    dataclass_defaults,
    checkpoint_globals,
    checkpoint_copies,
    evaluated_options,
    finished_trainings,
    kept_patience,
    encoder_fastpath,
    last_batch,
    torch_version,
    numpy_removals,
    pytorch_ddp,
    score_files,
    tensorboardx_notice,
    library_warnings,
    archive_members,
    bf16_on_gpu,
    unknown_names,
    bart_args,
)

#: Name of a mend -> "waiting", "applied", "not needed", "skipped" or "failed: why", in this process.
status: dict[str, str] = {mend.NAME: "waiting" for mend in MENDS}


def skipped() -> set[str]:
    """The names of the mends that the user switched off."""
    names = {word.strip() for word in os.environ.get("LSKD_COMPAT_SKIP", "").split(",")} - {""}
    known = {mend.NAME for mend in MENDS}
    if unknown := names - known - {"all"}:
        warnings.warn(
            f"LSKD_COMPAT_SKIP names no mend of fairseq_lskd: {', '.join(sorted(unknown))} "
            f"(there are: {', '.join(sorted(known))})",
            RuntimeWarning,
            stacklevel=2,
        )
    return known if "all" in names else names


def mend_if_needed(mend: Any) -> str:
    """Apply one mend where it is needed; a failure is a warning, for fairseq may still be of use."""
    if mend.NAME in skipped():
        outcome = "skipped"
    else:
        try:
            outcome = "not needed"
            if mend.needed():
                mend.apply()
                outcome = "applied"
        except Exception as error:
            outcome = f"failed: {error!r}"
            warnings.warn(
                f"fairseq_lskd could not mend {mend.NAME!r} ({error!r}). Without it: {mend.NEEDED_BY}. "
                f"LSKD_COMPAT_SKIP={mend.NAME} silences this.",
                RuntimeWarning,
                stacklevel=2,
            )
    # A mend may belong to several modules; the most telling outcome is kept.
    if outcome != "not needed" or status[mend.NAME] == "waiting":
        status[mend.NAME] = outcome
    return outcome


class Watcher:
    """Finds nothing itself: it has the mends run before or after the modules they name."""

    def __init__(self, mends: tuple[Any, ...] = MENDS) -> None:
        self.waiting: dict[str, list[Any]] = {}
        for mend in mends:
            for module in mend.MODULES:
                self.waiting.setdefault(module, []).append(mend)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        mends = self.waiting.pop(fullname, None)
        if mends is None:
            return None
        # The name has left `waiting`, so this asks the other finders.
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            surround(spec.loader, mends)
        return spec


def surround(loader: Any, mends: list[Any]) -> None:
    """Have ``loader`` run the mends around its one module.

    Only the method of this one object is replaced, until it ran: the loader's class, hence
    ``inspect.getsource`` (which TorchScript needs) and ``importlib.resources``, stay as they were.
    """
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        del loader.exec_module
        for mend in mends:
            if mend.WHEN == "before":
                mend_if_needed(mend)
        execute(module)
        for mend in mends:
            if mend.WHEN == "after":
                mend_if_needed(mend)

    loader.exec_module = exec_module


def watch(replacing: Any) -> None:
    """Put a `Watcher` where the hook's finder was (in place: the import system is walking the list).

    It is now or never for OpenMP's threads, too: what comes next imports torch.
    """
    openmp.wait_passively()
    sys.meta_path[sys.meta_path.index(replacing)] = Watcher()
