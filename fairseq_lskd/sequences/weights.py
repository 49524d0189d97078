"""A weight for each sentence of a training set, looked up by fairseq's `sample["id"]`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..files import write_beside
from ..npz import read_npz


@dataclass
class SequenceWeights:
    """Weights of sentences. Row i belongs to line i of the training data, which is example i of fairseq's dataset."""

    weight: np.ndarray  #: [sentences] float32, finite, >= 0
    #: [sentences] float32, 0 to 1: the share of the weight that counts as a reference's. It is 1 for a reference, 0 for
    #: a translation, and between them if a source of a mixture has only one of the two.
    reference: np.ndarray

    def share(self, reference_weight: float) -> SequenceWeights:
        """Return weights that give references the share `reference_weight` of the loss, and translations the rest.

        This holds for sources that have both. A source with only one of the two weighs as much as the others.

        Raises:
            UserError: if all weights become 0, or all change by the same factor, which has no effect.
        """
        reference = self.reference.astype(np.float64)
        factor = reference * reference_weight + (1 - reference) * (1 - reference_weight)
        shared = SequenceWeights(self.weight * factor.astype(np.float32), self.reference)
        if not shared.weight.any():
            kind = "translations" if reference_weight == 1 else "references"
            raise UserError(
                f"--reference-weight {reference_weight:g} leaves no sentence to train on: all targets are {kind}"
            )
        if self.reference.min() == self.reference.max():
            kind = {0: "translations", 1: "references"}.get(self.reference[0], "of sources without the other kind")
            raise UserError(
                f"--reference-weight {reference_weight:g} has no effect: all {len(self.reference):,} targets are "
                f"{kind}. Give the data and weights of `lskd select --add-references`, or leave it out"
            )
        return shared

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the weights to an .npz file, atomically."""
        with write_beside(path) as part, part.open("wb") as stream:
            np.savez(stream, weight=self.weight.astype(np.float32), reference=self.reference.astype(np.float32))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SequenceWeights:
        """Read weights that `save` wrote.

        Raises:
            UserError: if the file is missing or of another kind, or a weight is negative or not finite.
        """
        name = f"--sequence-weights {os.fspath(path)}"
        if not Path(path).is_file():
            raise UserError(f"{name}: no such file; `lskd select` writes it")
        arrays = read_npz(
            Path(path), ("weight", "reference"), "the .npz that `lskd select` writes", "--sequence-weights"
        )
        if missing := {"weight", "reference"} - arrays.keys():
            raise UserError(f"{name}: expected the .npz that `lskd select` writes, found no {' and '.join(missing)}")
        weight, reference = arrays["weight"], arrays["reference"]
        if reference.dtype == bool:  # files of older versions
            reference = reference.astype(np.float32)
        if weight.ndim != 1 or reference.shape != weight.shape or not weight.dtype == reference.dtype == np.float32:
            raise UserError(
                f"{name}: expected `weight` float32 [N] and `reference` float32 [N], found "
                f"{weight.dtype} {list(weight.shape)} and {reference.dtype} {list(reference.shape)}"
            )
        bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
        if bad.size:
            raise UserError(f"{name}: the weight of sentence {bad[0]} is {weight[bad[0]]}, expected 0 or more")
        bad = np.flatnonzero(~((reference >= 0) & (reference <= 1)))
        if bad.size:
            raise UserError(f"{name}: `reference` of sentence {bad[0]} is {reference[bad[0]]}, expected 0 to 1")
        if not weight.any():
            raise UserError(f"{name}: every weight is 0, expected one above 0")
        return cls(weight, reference)


def softmax(scores: Sequence[float], temperature: float) -> np.ndarray:
    """Return `softmax(scores / temperature)`, float64 `[N]`."""
    values = np.asarray(scores, dtype=np.float64)
    with np.errstate(over="ignore"):  # exp(-inf) is 0, as it should be
        powers = np.exp((values - values.max()) / temperature)
    return powers / powers.sum()
