"""Names and arguments that NumPy has removed: fairseq 0.12 on NumPy 1.24, 2.0 and 2.4 and later.

``np.int`` and ``np.float`` (removed in 1.24) were aliases of Python's types. The CRF of non-autoregressive models and
span masking without overlap use them. ``--num-batch-buckets`` uses ``np.compat.long`` (removed in 2.0), an alias too,
and ``np.percentile(..., interpolation=...)`` (removed in 2.4), which is now ``method=``.
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
    """Return a replacement for each name that this NumPy lacks or has with other arguments."""
    import numpy as np

    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        # NumPy warns about names that are deprecated but not removed yet.
        warnings.simplefilter("ignore")
        found.update((name, kind) for name, kind in ALIASES.items() if not hasattr(np, name))
        try:
            np.percentile([0.0], 50, interpolation="lower")  # type: ignore[call-overload]  # on purpose
        except TypeError:
            found["percentile"] = percentile
    return found


def percentile(*args: Any, interpolation: str | None = None, **kwargs: Any) -> Any:
    """Call ``numpy.percentile``; accept its former argument ``interpolation`` too."""
    import numpy as np

    if interpolation is not None:
        kwargs["method"] = interpolation
    return np.percentile(*args, **kwargs)


def users(names: dict[str, Any]) -> list[ModuleType]:
    """Return fairseq's imported modules that use one of the names in the removed way."""
    uses = [r"\binterpolation=" if name == "percentile" else rf"\bnp\.{re.escape(name)}\b" for name in names]
    return standin.users(MODULES, "|".join(uses)) if uses else []


def needed() -> bool:
    """Whether an imported module of fairseq uses something that this NumPy lacks."""
    return bool(users(lacking()))


def apply() -> None:
    """Give these modules a ``np`` that has the names. NumPy itself is not changed."""
    names = lacking()
    standin.replace(users(names), "np", **names)
