"""Saved outputs of any classifier: an .npz file with its logits or probabilities and the labels.

Arrays in the file, N examples of K classes:

- `logits` or `probs`: `[N, K]`, K >= 3; probabilities sum to 1 in each row;
- `labels`: `[N]`, integers from 0 to K - 1;
- `features`: `[N, D]`, the input of the output layer, `output_matrix`: `[K, D]`, and `output_bias`: `[K]` (optional,
  for projections);
- `split`: `[N]`, names such as `train` or `valid` (optional);
- `label_smoothing`: a number, the label smoothing in training (optional);
- `classes`: `[K]`, names of the classes (optional).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from ..npz import read_npz

KNOWN = ("logits", "probs", "labels", "features", "output_matrix", "output_bias", "split", "label_smoothing", "classes")
#: Tolerance for the sum of a row of probabilities. Half-precision rows of many classes are off by some thousandths.
TOLERANCE = 1e-2


@dataclass(frozen=True)
class Outputs:
    """The outputs of a classifier for N examples of K classes, and the labels."""

    name: str
    log_probs: Tensor  #: [N, K] float32, normalised
    labels: Tensor  #: [N] int64
    features: Tensor | None = None  #: [N, D] float32
    output_matrix: Tensor | None = None  #: [K, D] float32
    output_bias: Tensor | None = None  #: [K] float32
    split: tuple[str, ...] | None = None  #: N names
    smoothing: float | None = None  #: label smoothing in training
    names: tuple[str, ...] | None = None  #: names of the K classes

    @property
    def called(self) -> str:
        """The name in the report: the label smoothing, or the stem of the file if it is not known."""
        return self.name if self.smoothing is None else f"LS {self.smoothing:g}"

    @property
    def probs(self) -> Tensor:
        return self.log_probs.exp()

    @property
    def classes(self) -> int:
        return self.log_probs.size(1)

    @property
    def splits(self) -> list[str]:
        """The names of splits in order of occurrence; [] if the file has none."""
        return list(dict.fromkeys(self.split or ()))

    def of_split(self, name: str) -> Outputs:
        """Return the examples of one split.

        Raises:
            UserError: if there are none.
        """
        if name not in self.splits:
            found = ", ".join(self.splits) or "no named split"
            raise UserError(f"{self.name}: found no example of the split {name!r}; expected one of {found}")
        assert self.split is not None
        mine = torch.tensor([each == name for each in self.split])
        features = None if self.features is None else self.features[mine]
        return replace(
            self,
            log_probs=self.log_probs[mine],
            labels=self.labels[mine],
            features=features,
            split=tuple(each for each in self.split if each == name),
        )


def load_npz(path: Path) -> Outputs:
    """Read and check saved arrays. The name is the stem of the file. No code in the file is executed.

    Raises:
        UserError: if the file is invalid. The message lists all problems.
    """
    found = read_npz(path, KNOWN, "an .npz file of numpy.savez with logits (or probs) and labels")
    if problems := _problems(found):
        raise UserError(f"{path}: " + "\n  ".join(problems))
    return _outputs(path.stem, found)


def _problems(found: Mapping[str, Any]) -> list[str]:
    """Check the arrays. Return one line per problem."""
    scores = [name for name in ("logits", "probs") if name in found]
    problems = []
    if len(scores) != 1:
        said = "both logits and probs" if scores else "neither logits nor probs"
        problems.append(f"found {said}, expected one of them, of shape [examples, classes]")
    if "labels" not in found:
        problems.append("found no labels, expected one per example")
    if ("features" in found) != ("output_matrix" in found):
        problems.append("found only one of features and output_matrix, expected both or neither")
    if problems:
        return problems
    values = found[scores[0]]
    if values.ndim != 2 or values.shape[1] < 2 or not len(values):
        return [f"{scores[0]} has the shape {list(values.shape)}, expected [examples, classes], at least [1, 3]"]
    if values.shape[1] == 2:
        return [f"{scores[0]}: found two classes, expected at least three: the analysis compares relations of classes"]
    count, classes = values.shape
    shapes: dict[str, tuple[int, ...]] = {
        "labels": (count,),
        "split": (count,),
        "output_bias": (classes,),
        "classes": (classes,),
    }
    shapes["label_smoothing"] = ()
    if "features" in found:
        width = found["features"].shape[-1:]
        shapes |= {"features": (count, *width), "output_matrix": (classes, *width)}
    for name, shape in shapes.items():
        if name in found and found[name].shape != shape:
            problems.append(
                f"{name} has the shape {list(found[name].shape)}, expected "
                + (f"{list(shape)} to match {scores[0]}" if shape else "a single number")
            )
    for name in (*scores, "features", "output_matrix", "output_bias", "label_smoothing"):
        if name in found and (problem := _not_numbers(found[name])):
            problems.append(f"{name} {problem}")
    labels = found["labels"]
    if labels.dtype.kind not in "iu":
        problems.append(f"labels have the dtype {labels.dtype}, expected integers")
    elif labels.size and not 0 <= labels.min() <= labels.max() < classes:
        problems.append(f"labels are from {labels.min()} to {labels.max()}, expected 0 to {classes - 1}")
    problems += [
        f"{name} has the dtype {found[name].dtype}, expected strings"
        for name in ("split", "classes")
        if name in found and found[name].dtype.kind not in "US"
    ]
    if not problems:
        problems += _unlikely(found)
    if scores == ["probs"] and not problems:
        problems += _not_distributions(values)
    return problems


def _unlikely(found: Mapping[str, Any]) -> list[str]:
    """Check the values of arrays with valid types and shapes."""
    problems = []
    if "label_smoothing" in found and not 0 <= found["label_smoothing"] < 1:
        problems.append(f"label_smoothing is {found['label_smoothing']:g}, expected a number in [0, 1)")
    for name in ("split", "classes"):
        try:
            names = _names(found.get(name, ()))
        except ValueError as error:
            problems.append(f"{name} has names that are not valid text ({error})")
        else:
            if name == "classes" and len(set(names)) < len(names):
                problems.append("classes has duplicate names, expected a different name for each class")
    return problems


def _names(values: Any) -> tuple[str, ...]:
    """Return names as text, decoding bytes as UTF-8; `ValueError` if a name is not valid text."""
    names = [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]
    "".join(names).encode("utf-8")
    return tuple(names)


def _not_numbers(values: Any) -> str | None:
    if values.dtype.kind not in "fiu":
        return f"has the dtype {values.dtype}, expected real numbers"
    wrong = ~(np.abs(values) <= np.finfo(np.float32).max)
    if not wrong.any():
        return None
    if not values.ndim:
        return f"is {values}"
    rows = np.flatnonzero(wrong.reshape(len(wrong), -1).any(1))
    what = "numbers beyond float32" if np.isfinite(values).all() else "NaN or infinity"
    return f"has {what} in {len(rows):,} of {len(values):,} rows, first in row {rows[0]} (counted from 0)"


def _not_distributions(probs: Any) -> list[str]:
    if (probs < 0).any():
        return [
            f"probs has negative values down to {probs.min():g}, expected probabilities: save logits or "
            "log-probabilities as logits"
        ]
    sums = probs.astype(np.float64).sum(1)
    wrong = np.flatnonzero(np.abs(sums - 1) > TOLERANCE)
    if not len(wrong):
        return []
    return [
        f"probs does not sum to 1 in {len(wrong):,} of {len(probs):,} rows, first in row {wrong[0]}, which sums to "
        f"{sums[wrong[0]]:.4g}: save logits as logits"
    ]


def _outputs(name: str, found: Mapping[str, Any]) -> Outputs:
    def real(key: str) -> Tensor | None:
        return torch.from_numpy(np.ascontiguousarray(found[key], dtype=np.float32)) if key in found else None

    logits, probs = real("logits"), real("probs")
    if logits is not None:
        log_probs = F.log_softmax(logits, dim=-1)
    else:
        assert probs is not None
        log_probs = (probs / probs.sum(1, keepdim=True)).log()  # -inf for a probability of 0
    labels = torch.from_numpy(found["labels"].astype(np.int64))
    split, classes = (_names(found[key]) if key in found else None for key in ("split", "classes"))
    smoothing = round(float(found["label_smoothing"]), 6) if "label_smoothing" in found else None
    features, matrix, bias = (real(key) for key in ("features", "output_matrix", "output_bias"))
    return Outputs(name, log_probs, labels, features, matrix, bias, split, smoothing, classes)
