"""Patches with which an unmodified fairseq 0.12 runs on current versions of Python, torch, NumPy and Hydra.

Each patch is a module with

    NAME         its name in ``LSKD_COMPAT_SKIP`` and ``lskd doctor``
    NEEDED_BY    one line: what fails without it, and with which versions
    MODULES      the modules that trigger the patch when they are imported
    WHEN         whether it runs "before" or "after" each of these modules is executed
    needed()     whether this Python, torch and fairseq need it; it tests their behaviour, not their versions
    apply()      apply the patch; a second call changes nothing

``_fairseq_lskd_hook`` loads this package under a private name when fairseq is first imported. So the modules here must
not import the rest of ``fairseq_lskd``, and may import fairseq and torch only inside functions. The environment
variable ``LSKD_COMPAT_SKIP=name,name`` (or ``all``) leaves patches out.
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
    cosine_period,
    cut_data,
    data_folders,
    dataclass_defaults,
    encoder_fastpath,
    evaluated_options,
    finished_trainings,
    kept_patience,
    last_batch,
    library_warnings,
    numpy_removals,
    openmp,
    plugin_hints,
    pytorch_ddp,
    score_files,
    tensorboardx_notice,
    torch_version,
    unknown_names,
    user_dirs,
)

PATCHES: tuple[Any, ...] = (
    dataclass_defaults,
    checkpoint_globals,
    checkpoint_copies,
    evaluated_options,
    finished_trainings,
    kept_patience,
    cosine_period,
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
    plugin_hints,
    user_dirs,
    bart_args,
    cut_data,
    data_folders,
)

#: The state of each patch in this process: "waiting", "applied", "not needed", "skipped" or "failed: reason".
status: dict[str, str] = {patch.NAME: "waiting" for patch in PATCHES}


def skipped() -> set[str]:
    """Return the names of the patches that ``LSKD_COMPAT_SKIP`` leaves out."""
    names = {word.strip() for word in os.environ.get("LSKD_COMPAT_SKIP", "").split(",")} - {""}
    known = {patch.NAME for patch in PATCHES}
    if unknown := names - known - {"all"}:
        warnings.warn(
            f"LSKD_COMPAT_SKIP has unknown names of patches: {', '.join(sorted(unknown))}. Expected 'all', or some of "
            f"{', '.join(sorted(known))}",
            RuntimeWarning,
            stacklevel=2,
        )
    return known if "all" in names else names


def patch_if_needed(patch: Any) -> str:
    """Apply one patch if it is needed. A failure is only a warning, because fairseq may work without the patch."""
    if patch.NAME in skipped():
        outcome = "skipped"
    else:
        try:
            outcome = "not needed"
            if patch.needed():
                patch.apply()
                outcome = "applied"
        except Exception as error:
            outcome = f"failed: {error!r}"
            warnings.warn(
                f"fairseq_lskd could not apply the patch {patch.NAME!r} ({error!r}). Without it: {patch.NEEDED_BY}. "
                f"Set LSKD_COMPAT_SKIP={patch.NAME} to silence this warning.",
                RuntimeWarning,
                stacklevel=2,
            )
    # A patch may have several modules; "not needed" for one of them does not replace another outcome.
    if outcome != "not needed" or status[patch.NAME] == "waiting":
        status[patch.NAME] = outcome
    return outcome


class Watcher:
    """A finder for ``sys.meta_path`` that runs the patches before or after the modules that trigger them."""

    def __init__(self, patches: tuple[Any, ...] = PATCHES) -> None:
        self.waiting: dict[str, list[Any]] = {}
        for patch in patches:
            for module in patch.MODULES:
                self.waiting.setdefault(module, []).append(patch)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        patches = self.waiting.pop(fullname, None)
        if patches is None:
            return None
        # The name is no longer in `waiting`, so the other finders find the module.
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            surround(spec.loader, patches)
        return spec


def surround(loader: Any, patches: list[Any]) -> None:
    """Make ``loader`` run the patches before and after it executes its module.

    Only the method of this object is replaced, and only until it has run. The loader's class is not changed, so
    ``inspect.getsource`` (which TorchScript needs) and ``importlib.resources`` work as usual.
    """
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        del loader.exec_module
        for patch in patches:
            if patch.WHEN == "before":
                patch_if_needed(patch)
        execute(module)
        for patch in patches:
            if patch.WHEN == "after":
                patch_if_needed(patch)

    loader.exec_module = exec_module


def watch(replacing: Any) -> None:
    """Replace the hook's finder by a `Watcher`, in place, because the import system is iterating over the list.

    OpenMP's variables are set here too, because torch is imported next.
    """
    openmp.wait_passively()
    sys.meta_path[sys.meta_path.index(replacing)] = Watcher()
