"""Systematic diffusion (Chandrasegaran et al., ICML 2022): students drift towards similar classes at high temperatures.

The diffusion index is the share by which classes a and b are closer in the student with the higher temperature:

    eta(a, b) = (d_low(a, b) - d_high(a, b)) / d_low(a, b)

It is negative if they are further apart. Distances d are between the centres of the classes' penultimate activations,
in units of the mean distance of all pairs of classes, so that students can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .bootstrap import Interval, interval, resampled_ratios
from .classes import Pairs


def normalised_distances(centres: Tensor) -> Tensor:
    """Return the distances of `[K, D]` centres, `[K, K]` float64, scaled to a mean of 1 over all pairs.

    Raises:
        ValueError: if all centres are equal, or there is only one.
    """
    apart = torch.cdist(centres.double(), centres.double(), compute_mode="donot_use_mm_for_euclid_dist")
    size = len(centres)
    mean = apart.sum() / max(size * (size - 1), 1)
    if not mean > 0:
        raise ValueError("all classes have one centre: expected different centres")
    return apart / mean


@dataclass(frozen=True)
class Diffusion:
    """The mean diffusion index over pairs of classes."""

    similar: Interval
    dissimilar: Interval
    difference: Interval  #: similar - dissimilar; positive if students diffuse towards similar classes


def diffusion(low: Tensor, high: Tensor, pairs: Pairs) -> Diffusion:
    """Return the diffusion between two students, with intervals over classes.

    Pairs of classes with one centre are left out.

    Args:
        low: `[K, D]`, centres of the classes in the student of the lower temperature.
        high: `[K, E]`, centres in the student of the higher temperature.
        pairs: a similar and a dissimilar class for each class.
    """
    near, far = normalised_distances(low), normalised_distances(high)
    rows = torch.arange(len(low))
    index = torch.stack([1 - far[rows, other] / near[rows, other] for other in (pairs.similar, pairs.dissimilar)], 1)
    index = index[index.isfinite().all(1)]
    drawn = resampled_ratios(index, torch.ones(len(index)))
    similar, dissimilar = index.mean(0).tolist()
    return Diffusion(
        interval(similar, drawn[:, 0]),
        interval(dissimilar, drawn[:, 1]),
        interval(similar - dissimilar, drawn[:, 0] - drawn[:, 1]),
    )
