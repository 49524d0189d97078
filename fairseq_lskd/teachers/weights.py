"""`--teacher-weights`: the weights of several teachers."""

from __future__ import annotations

import math

from ..errors import UserError
from ..files import sha256
from ..losses import MEAN, Mixture

BY_ENTROPY = "entropy"


def read_mixture(weights: str | None, paths: str) -> Mixture:
    """Return the mixture for `--teacher-weights`: numbers joined by `:`, one for each path, or "entropy".

    Raises:
        UserError: if `weights` has another form.
    """
    if weights is None:
        return MEAN
    members = len(paths.split(":"))
    name = f"--teacher-weights {weights}"
    if members == 1:
        raise UserError(f"{name}: --teacher-path names one checkpoint. Join several by ':', or leave the weights out")
    if weights == BY_ENTROPY:
        return Mixture(by_entropy=True)
    try:
        found = tuple(float(word) for word in weights.split(":"))
    except ValueError:
        raise UserError(f"{name}: expected numbers joined by ':', or {BY_ENTROPY}") from None
    if len(found) != members:
        raise UserError(f"{name}: {len(found)} weights, but --teacher-path names {members} checkpoints. Give one each")
    if not all(0 < weight < math.inf for weight in found):
        raise UserError(f"{name}: expected numbers above 0. Leave out a teacher that must not count")
    return Mixture(found)


def recorded(mixture: Mixture, paths: str) -> str | None:
    """Return the weights for a cache's fingerprint, in the order of the teachers' digests; None for equal weights."""
    if mixture.weights is None:
        return BY_ENTROPY if mixture.by_entropy else None
    total = math.fsum(mixture.weights)
    ordered = sorted(zip(map(sha256, paths.split(":")), mixture.weights, strict=True))
    return ":".join(f"{weight / total:.9g}" for _, weight in ordered)
