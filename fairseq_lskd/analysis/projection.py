"""Projection of the penultimate activations of three classes on the plane through their templates.

Source: Müller et al. (NeurIPS 2019, section 3) and Shen et al. (ICLR 2021, Fig. 1). The templates are the rows of the
output matrix of three classes, two of which are similar.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .bootstrap import Interval, interval, resamples


def plane(templates: Tensor) -> Tensor:
    """Return an orthonormal basis of the plane through three points, `[D, 2]` float64; the first vector is a to b.

    Args:
        templates: `[3, D]`, points a, b and c, D >= 2.

    Raises:
        ValueError: if the points lie on one line.
    """
    points = templates.double()
    if points.size(1) < 2:
        raise ValueError(f"found templates of {points.size(1)} dimension, expected at least 2 for a plane")
    first = points[1] - points[0]
    length = first.norm()
    second = points[2] - points[0]
    if length > 0:
        first = first / length
        second = second - (second @ first) * first
    if not length > 0 or not second.norm() > 1e-9 * length:
        raise ValueError("the templates of the three classes lie on one line, expected a plane")
    return torch.stack([first, second / second.norm()], 1)


def spans_plane(templates: Tensor) -> bool:
    """Return whether the templates `[3, D]` of three classes span a plane."""
    try:
        plane(templates)
    except ValueError:
        return False
    return True


def project(points: Tensor, templates: Tensor) -> Tensor:
    """Return the coordinates of `[N, D]` activations on the plane, `[N, 2]` float64; template a is the origin."""
    return (points.double() - templates[0].double()) @ plane(templates)


@dataclass(frozen=True)
class Distances:
    """Spreads of and distances between three clusters, in units of the activations."""

    spread: tuple[float, float, float]  #: D1 and D2 of the similar classes a and b, D3 of c
    similar: float  #: Dc, distance of the centres of a and b
    dissimilar: tuple[float, float]  #: distances of the centres of a and c, and of b and c
    separation: Interval  #: Dc / (D1 + D2), no unit; interval over examples

    @property
    def contrast(self) -> float:
        """Dc divided by the mean distance of both similar centres to the third one."""
        return 2 * self.similar / sum(self.dissimilar)


def _weighted(points: list[Tensor], weights: list[Tensor]) -> tuple[list[float], list[list[float]]]:
    centres = [weight @ point / weight.sum() for point, weight in zip(points, weights, strict=True)]
    spread = [
        float(weight @ (point - centre).norm(dim=1) / weight.sum())
        for point, weight, centre in zip(points, weights, centres, strict=True)
    ]
    between = [[float((one - other).norm()) for other in centres] for one in centres]
    return spread, between


def distances(points: Tensor, member: Tensor, draws: int = 500) -> Distances:
    """Return D1, D2 and D3, the mean distances of the classes' points from their centres, and Dc, that of the centres.

    Args:
        points: `[N, D]`, projected or not.
        member: `[N]` int64, 0 (a), 1 (b, similar to a) or 2 (c).
        draws: number of resamples.

    Raises:
        ValueError: if a class has no point.
    """
    parts = [points[member == i].double() for i in range(3)]
    if not all(map(len, parts)):
        raise ValueError("each of the three classes needs a point")
    spread, between = _weighted(parts, [torch.ones(len(part), dtype=torch.float64) for part in parts])

    def ratio(apart: float, ours: list[float]) -> float:
        return apart / (ours[0] + ours[1]) if ours[0] + ours[1] > 0 else math.inf

    drawn = [torch.cat(list(resamples(len(part), draws, seed))) for seed, part in enumerate(parts[:2], start=1)]
    replicates = []
    for one, two in zip(*drawn, strict=True):
        inside, apart = _weighted(parts[:2], [one, two])
        replicates.append(ratio(apart[0][1], inside))
    return Distances(
        (spread[0], spread[1], spread[2]),
        between[0][1],
        (between[0][2], between[1][2]),
        interval(ratio(between[0][1], spread), torch.tensor(replicates)),
    )


def propose(similarity: Tensor, eligible: Tensor) -> tuple[int, int, int]:
    """Propose three classes: the two most similar ones, and the one least similar to either.

    Args:
        similarity: `[K, K]`, symmetric.
        eligible: `[K]` bool.

    Returns:
        Rows a, b (a < b) and c. If there are several candidates for c, it is the first.

    Raises:
        ValueError: if fewer than three classes are eligible.
    """
    if int(eligible.sum()) < 3:
        raise ValueError("fewer than three classes have enough examples")
    out = ~(eligible[:, None] & eligible[None, :]) | torch.eye(len(similarity), dtype=torch.bool)
    best = int(similarity.masked_fill(out, -torch.inf).argmax())
    a, b = sorted(divmod(best, len(similarity)))
    both = torch.maximum(similarity[a], similarity[b]).clone()
    both[~eligible] = both[a] = both[b] = torch.inf
    return a, b, int(both.argmin())
