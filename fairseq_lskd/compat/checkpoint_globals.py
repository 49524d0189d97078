"""Classes in checkpoints: fairseq 0.12 on torch 2.6 and later.

``torch.load`` now reads with ``weights_only=True`` and refuses classes that are not on its list of safe classes. The
patch adds the classes that fairseq's checkpoints contain. All of them are data:

- ``argparse.Namespace``: the model's options (``cfg["model"]``), or all options (``args``) in older files;
- NumPy arrays and scalars: the n-gram counts that ``--eval-bleu`` logs, and the best score;
- omegaconf's containers: ``cfg``, which rank 0 sends to the other ranks when a training is resumed;
- fairseq's placeholder for a tensor (sent to the other ranks too), its ``Dictionary`` (the state of some tasks) and its
  meters (files written before 0.9).

torch refuses all other classes as before. The package never uses ``weights_only=False``, which would run code.
"""

from __future__ import annotations

import io
import sys
from typing import Any

NAME = "checkpoint-globals"
NEEDED_BY = 'every checkpoint load fails on torch >= 2.6 ("Weights only load failed ... argparse.Namespace")'
MODULE = "fairseq.checkpoint_utils"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"

#: The dtypes that a NumPy array in a checkpoint may have; objects are not allowed.
DTYPES = ("?", "b", "h", "i", "l", "q", "B", "H", "I", "L", "Q", "e", "f", "d")


class Foreign:
    """A class that is not on torch's list."""


def refuses_foreign_classes() -> bool:
    """Whether ``torch.load`` as fairseq calls it, without ``weights_only``, refuses a foreign class."""
    import pickle

    import torch

    file = io.BytesIO()
    torch.save(Foreign(), file)
    file.seek(0)
    try:
        torch.load(file)
    except pickle.UnpicklingError:
        return True
    return False


def named(item: Any, *modules: str) -> list[tuple[Any, str]]:
    """Pair ``item`` with its full names in pickles of different versions."""
    return [(item, f"{module}.{item.__name__}") for module in modules]


def numpy_classes() -> list[Any]:
    """Return what is needed for arrays and scalars in pickles of NumPy 1 (``numpy.core``) and NumPy 2."""
    import numpy as np

    # The functions are taken from objects, because their modules are private and have been moved.
    reconstruct = np.zeros(1).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")
    return [
        *named(reconstruct, *modules),
        *named(scalar, *modules),
        np.ndarray,
        np.dtype,
        *dict.fromkeys(type(np.dtype(name)) for name in DTYPES),
    ]


def omegaconf_classes() -> list[Any]:
    """Return what is needed for a ``DictConfig`` of plain values."""
    import collections
    import typing

    import omegaconf
    from omegaconf.base import ContainerMetadata, Metadata

    nodes = ("AnyNode", "BooleanNode", "BytesNode", "EnumNode", "FloatNode", "IntegerNode", "StringNode")
    plain = [dict, list, tuple, str, int, float, bool, bytes]
    return [
        omegaconf.DictConfig,
        omegaconf.ListConfig,
        ContainerMetadata,
        Metadata,
        *(getattr(omegaconf, name) for name in nodes if hasattr(omegaconf, name)),
        collections.defaultdict,
        (typing.Any, "typing.Any"),
        *((kind, f"{module}.{kind.__name__}") for kind in plain for module in ("builtins", "__builtin__")),
    ]


def fairseq_classes() -> list[Any]:
    """Return fairseq's classes that hold only strings and numbers."""
    from fairseq.data import Dictionary
    from fairseq.distributed import utils
    from fairseq.logging import meters

    found: list[Any] = [Dictionary]
    for kind in (meters.AverageMeter, meters.TimeMeter, meters.StopwatchMeter):
        found += named(kind, "fairseq.logging.meters", "fairseq.meters")
    if hasattr(utils, "_TensorPlaceholder"):
        found.append(utils._TensorPlaceholder)
    return found


def classes() -> list[Any]:
    """Return all classes, in the form that ``torch.serialization.add_safe_globals`` takes."""
    import argparse

    ours = fairseq_classes() if MODULE in sys.modules else []
    return [argparse.Namespace, *numpy_classes(), *omegaconf_classes(), *ours]


def missing() -> list[Any]:
    """Return the classes that are not on torch's list yet."""
    import torch

    known = torch.serialization.get_safe_globals()
    return [item for item in classes() if item not in known]


def needed() -> bool:
    """Whether torch refuses classes that the patch can add to its list."""
    import torch

    return hasattr(torch.serialization, "add_safe_globals") and refuses_foreign_classes() and bool(missing())


def apply() -> None:
    import torch

    torch.serialization.add_safe_globals(missing())
