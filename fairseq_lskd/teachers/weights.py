"""`--teacher-weights`: how much each of several teachers counts."""

from __future__ import annotations

import math

from ..errors import UserError
from ..files import sha256
from ..losses import MEAN, Mixture

BY_ENTROPY = "entropy"


def read_mixture(weights: str | None, paths: str) -> Mixture:
    """The mixture that `--teacher-weights` asks for: numbers joined by `:`, one for each of the paths, or "entropy".

    Raises:
        UserError: if they are not that.
    """
    if weights is None:
        return MEAN
    members = len(paths.split(":"))
    name = f"--teacher-weights {weights}"
    if members == 1:
        raise UserError(f"{name}: --teacher-path names one checkpoint; join several by ':', or leave the weights out")
    if weights == BY_ENTROPY:
        return Mixture(by_entropy=True)
    try:
        found = tuple(float(word) for word in weights.split(":"))
    except ValueError:
        raise UserError(f"{name}: expected numbers joined by ':', or {BY_ENTROPY}") from None
    if len(found) != members:
        raise UserError(f"{name}: {len(found)} weights, but --teacher-path names {members} checkpoints")
    if not all(0 < weight < math.inf for weight in found):
        raise UserError(f"{name}: expected numbers above 0; leave out a teacher that is to say nothing")
    return Mixture(found)


def recorded(mixture: Mixture, paths: str) -> str | None:
    """As a cache's fingerprint has it, whose teachers are in the order of their digests; None is the plain mean."""
    if mixture.weights is None:
        return BY_ENTROPY if mixture.by_entropy else None
    total = math.fsum(mixture.weights)
    ordered = sorted(zip(map(sha256, paths.split(":")), mixture.weights, strict=True))
    return ":".join(f"{weight / total:.9g}" for _, weight in ordered)
