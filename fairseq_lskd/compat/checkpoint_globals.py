"""Checkpoints hold a few classes beside tensors: fairseq 0.12 on torch 2.6 and later.

``torch.load`` now reads with ``weights_only=True`` and refuses every class it has not been told of.
It is told here of what fairseq's checkpoints were seen to hold, which is data only:

- ``argparse.Namespace``: the model's options (``cfg["model"]``), or all of them (``args``) in older files;
- NumPy arrays and scalars: the n-gram counts that ``--eval-bleu`` logs, a best score;
- omegaconf's containers: ``cfg`` as rank 0 hands it to the other ranks when a run with several is resumed;
- fairseq's own placeholder for a tensor (in the same hand-over), its ``Dictionary`` (the state of some
  tasks) and its meters (files written before 0.9).

Anything else is refused as before. ``weights_only=False``, which would run whatever a stranger's
checkpoint contains, is used nowhere.
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

#: The kinds of numbers that a NumPy array in a checkpoint may have; no objects.
DTYPES = ("?", "b", "h", "i", "l", "q", "B", "H", "I", "L", "Q", "e", "f", "d")


class Foreign:
    """A class nobody told torch of."""


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
    """``item`` under the full names by which pickles of different versions call it."""
    return [(item, f"{module}.{item.__name__}") for module in modules]


def numpy_classes() -> list[Any]:
    """What makes arrays and scalars of numbers, as NumPy 1 (``numpy.core``) and 2 wrote it."""
    import numpy as np

    # Asked of the objects themselves: the modules these functions are in are private and have moved.
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
    """What makes a ``DictConfig`` of plain values."""
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
    """fairseq's own: plain holders of strings and numbers."""
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
    """All of them, as ``torch.serialization.add_safe_globals`` takes it."""
    import argparse

    ours = fairseq_classes() if MODULE in sys.modules else []
    return [argparse.Namespace, *numpy_classes(), *omegaconf_classes(), *ours]


def missing() -> list[Any]:
    """The classes that torch has not been told of."""
    import torch

    known = torch.serialization.get_safe_globals()
    return [item for item in classes() if item not in known]


def needed() -> bool:
    """Whether a load is refused and the refusal can be mended here."""
    import torch

    return hasattr(torch.serialization, "add_safe_globals") and refuses_foreign_classes() and bool(missing())


def apply() -> None:
    """Tell torch of the classes."""
    import torch

    torch.serialization.add_safe_globals(missing())
