"""Systematic diffusion: do students drift towards similar classes as the temperature rises?

After Chandrasegaran et al. (ICML 2022). Distances are between the centres of the classes' penultimate
activations, in units of the mean distance of all pairs of classes, so that students can be compared:

    eta(a, b) = (d_low(a, b) - d_high(a, b)) / d_low(a, b)

is the share by which a and b came closer from the lower to the higher temperature; negative if they moved apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .bootstrap import Interval, interval, resampled_ratios
from .classes import Pairs


def normalised_distances(centres: Tensor) -> Tensor:
    """`[K, K]` float64 distances of `[K, D]` centres, whose mean over all pairs is 1.

    Raises:
        ValueError: if all centres are the same, or there is only one.
    """
    apart = torch.cdist(centres.double(), centres.double(), compute_mode="donot_use_mm_for_euclid_dist")
    size = len(centres)
    mean = apart.sum() / max(size * (size - 1), 1)
    if not mean > 0:
        raise ValueError("the classes have one centre: there are no distances to compare")
    return apart / mean


@dataclass(frozen=True)
class Diffusion:
    """The diffusion index, the mean over pairs, from a lower to a higher temperature."""

    similar: Interval
    dissimilar: Interval
    difference: Interval  #: similar less dissimilar: above 0 where students diffuse towards similar classes


def diffusion(low: Tensor, high: Tensor, pairs: Pairs) -> Diffusion:
    """Compare two students.

    Args:
        low, high: `[K, D]` and `[K, E]`, centres of the classes in the students of the lower and higher temperature.
        pairs: for each class a similar one and a dissimilar one.

    Returns:
        Means over classes, with intervals over resamples of the classes. Pairs of one place are left out.
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
