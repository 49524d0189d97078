"""Load images and labels: scikit-learn's digits, or CIFAR-100 from a folder."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairseq_lskd.errors import UserError

#: The files of CIFAR-100's "python version", its number of classes, and the bytes per image.
CIFAR100, CIFAR100_CLASSES, CIFAR100_BYTES = ("train", "test"), 100, 3 * 32 * 32

#: Functions that a pickle of arrays and strings may call. Python 3 writes bytes for Python 2 with `_codecs.encode`.
_ALLOWED = {
    *((module, name) for module in ("numpy.core.multiarray", "numpy._core.multiarray") for name in ("_reconstruct",)),
    *(("numpy", name) for name in ("ndarray", "dtype")),
    ("_codecs", "encode"),
}


@dataclass(frozen=True)
class Images:
    """Training and validation sets: images `[N, channels, height, width]`, float32, and labels `[N]`, int64."""

    name: str
    classes: int
    train: tuple[Tensor, Tensor]
    valid: tuple[Tensor, Tensor]


def digits(count: int, noise: float, seed: int) -> Images:
    """Load scikit-learn's 1,797 digits (8 x 8 pixels) with a small training set, optionally with label noise.

    Args:
        count: number of training images, drawn with the seed and balanced over classes. All others are for validation.
        noise: share of training labels that are replaced by another class at random.
        seed: random seed.

    Raises:
        UserError: if `count` is too small or too large.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError("--data digits needs scikit-learn, which is not installed: pip install '.[vision]'") from None
    found = load_digits()
    images = torch.from_numpy(found.images).float().unsqueeze(1) / 16
    labels = torch.from_numpy(found.target).long()
    if not 10 <= count <= len(labels) - 100:
        raise UserError(f"--train {count}: expected 10 to {len(labels) - 100:,} of the {len(labels):,} digits")
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=random)
    # Take the first image of each class, then the second of each class, and so on.
    turn = torch.zeros(len(labels), dtype=torch.long)
    for label in range(10):
        mine = order[labels[order] == label]
        turn[mine] = torch.arange(len(mine))
    order = order[turn[order].argsort(stable=True)]
    train, valid = order[:count], order[count:]
    images = (images - images[train].mean()) / images[train].std()
    given = labels[train].clone()
    wrong = torch.randperm(count, generator=random)[: round(noise * count)]
    given[wrong] = (given[wrong] + torch.randint(1, 10, wrong.shape, generator=random)) % 10
    return Images("digits", 10, (images[train], given), (images[valid], labels[valid]))


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that only calls functions that create arrays."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise UserError(f"the file would call {module}.{name}, expected only arrays and lists; it was not executed")
        return super().find_class(module, name)


def cifar100(folder: Path) -> Images:
    """Load CIFAR-100 from the files `train` and `test` of its Python version, 3 x 32 x 32.

    Raises:
        UserError: if a file is missing or invalid, or has code, which is not executed. The message lists all problems.
    """
    parts, problems = [], []
    for name in CIFAR100:
        try:
            parts.append(_read(folder / name))
        except UserError as error:
            problems.append(f"{folder / name}: {error}")
    if problems:
        raise UserError("--data cifar100: " + "\n  ".join(problems))
    pixels = parts[0][0]
    mean, std = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), keepdim=True)
    train, valid = ((((images - mean) / std), labels) for images, labels in parts)
    return Images("cifar100", CIFAR100_CLASSES, train, valid)


def _read(path: Path) -> tuple[Tensor, Tensor]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror or error}); give the folder cifar-100-python") from None
    try:
        found = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    except UserError:
        raise
    except Exception as error:  # other files can raise any exception in an unpickler
        raise UserError(f"not a file of CIFAR-100 ({type(error).__name__}: {error})") from None
    found = (
        {str(k, "ascii") if isinstance(k, bytes) else k: v for k, v in found.items()} if isinstance(found, dict) else {}
    )
    pixels, labels = found.get("data"), found.get("fine_labels")
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (CIFAR100_BYTES,):
        raise UserError(f"expected 'data' of uint8, {CIFAR100_BYTES:,} numbers per image")
    if not isinstance(labels, list) or len(labels) != len(pixels) or not len(labels):
        raise UserError("expected 'fine_labels', one per row of 'data'")
    if not all(isinstance(label, int) and 0 <= label < CIFAR100_CLASSES for label in labels):
        raise UserError(f"expected fine labels from 0 to {CIFAR100_CLASSES - 1}")
    return torch.from_numpy(pixels.reshape(-1, 3, 32, 32)).float() / 255, torch.tensor(labels)


def shifted(images: Tensor, by: int, flip: bool, random: torch.Generator) -> Tensor:
    """Shift every image `[N, channels, height, width]` by up to `by` pixels; with `flip`, mirror half of them."""
    count, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, (by, by, by, by), value=float(images.min()))
    down, right = torch.randint(2 * by + 1, (2, count), generator=random)
    rows = down[:, None] + torch.arange(height)
    columns = right[:, None] + torch.arange(width)
    if flip:
        mirrored = torch.rand(count, generator=random) < 0.5
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    which = torch.arange(count)[:, None, None]
    return padded[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
