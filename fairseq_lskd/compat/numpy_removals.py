"""What NumPy took away: fairseq 0.12 on NumPy 1.24 and later, and again on 2.4 and later.

``np.int`` and ``np.float`` (gone in 1.24) were Python's own. The CRF of non-autoregressive models,
which train on distilled data, and span masking without overlap still use them. So was ``np.compat.long`` (gone in 2.0).
``np.percentile(..., interpolation=...)`` (gone in 2.4) is ``method=`` now. ``--num-batch-buckets`` uses both.
"""

from __future__ import annotations

import re
import warnings
from types import ModuleType, SimpleNamespace
from typing import Any

from . import standin

NAME = "numpy-removals"
NEEDED_BY = (
    "nacrf_transformer fails on NumPy >= 1.24 (\"module 'numpy' has no attribute 'float'\"), "
    "--num-batch-buckets on NumPy >= 2.0 (\"no attribute 'compat'\", \"unexpected ... 'interpolation'\")"
)
MODULES: tuple[str, ...] = (
    "fairseq.data.data_utils",
    "fairseq.data.language_pair_dataset",
    "fairseq.data.token_block_dataset",
    "fairseq.modules.dynamic_crf_layer",
)
WHEN = "after"

ALIASES = {"int": int, "float": float, "compat": SimpleNamespace(long=int)}


def lacking() -> dict[str, Any]:
    """The names that this NumPy lacks, or has with other arguments, and what does for each."""
    import numpy as np

    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        # Between deprecation and removal NumPy still has them, and warns of it.
        warnings.simplefilter("ignore")
        found.update((name, kind) for name, kind in ALIASES.items() if not hasattr(np, name))
        try:
            np.percentile([0.0], 50, interpolation="lower")  # type: ignore[call-overload]  # what is tried
        except TypeError:
            found["percentile"] = percentile
    return found


def percentile(*args: Any, interpolation: str | None = None, **kwargs: Any) -> Any:
    """``numpy.percentile`` that also takes its former argument ``interpolation``."""
    import numpy as np

    if interpolation is not None:
        kwargs["method"] = interpolation
    return np.percentile(*args, **kwargs)


def users(names: dict[str, Any]) -> list[ModuleType]:
    """The imported modules of fairseq's that use one of the names in the way that is gone."""
    uses = [r"\binterpolation=" if name == "percentile" else rf"\bnp\.{re.escape(name)}\b" for name in names]
    return standin.users(MODULES, "|".join(uses)) if uses else []


def needed() -> bool:
    """Whether an imported module of fairseq's uses something that this NumPy lacks."""
    return bool(users(lacking()))


def apply() -> None:
    """Give those modules a ``np`` that has it; NumPy itself stays as it is."""
    names = lacking()
    standin.replace(users(names), "np", **names)
