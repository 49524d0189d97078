"""Calibration: whether predictions with confidence p are correct in a share p of the cases."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .bootstrap import DRAWS, SEED, resampled_ratios
from .measurement import Tokens

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: B non-empty bins of nearly equal size, by ascending confidence."""

    count: Tensor  #: [B] int64, number of predictions
    confidence: Tensor  #: [B] float64, mean confidence
    accuracy: Tensor  #: [B] float64

    @property
    def error(self) -> float:
        """The expected calibration error: `sum_b n_b / n |accuracy_b - confidence_b|`."""
        gaps = (self.accuracy - self.confidence).abs() * self.count
        return (gaps.sum() / self.count.sum()).item()


def adaptive_bins(confidence: Tensor, bins: int = BINS) -> Tensor:
    """Return the bin of each prediction, `[N]` int64, with edges at quantiles (Nguyen & O'Connor, EMNLP 2015).

    Equal confidences are in one bin, so that the result does not depend on the order of examples.
    """
    if not len(confidence):
        return torch.zeros(0, dtype=torch.int64)
    ordered = confidence.double().sort().values
    places = torch.arange(1, bins) * len(ordered) // bins
    return torch.searchsorted(ordered[places].unique(), confidence.double(), right=True)


def reliability(confidence: Tensor, correct: Tensor, bins: int = BINS) -> Reliability:
    """Return a reliability diagram with adaptive bins.

    Args:
        confidence: `[N]`, probability of the predicted class.
        correct: `[N]` bool.
    """
    place = adaptive_bins(confidence, bins)
    count = torch.bincount(place, minlength=bins)
    sure = torch.bincount(place, confidence.double(), minlength=bins)
    right = torch.bincount(place, correct.double(), minlength=bins)
    keep = count > 0
    return Reliability(count[keep], sure[keep] / count[keep], right[keep] / count[keep])


@dataclass(frozen=True)
class Quality:
    """Means over examples, and their bootstrap replicates."""

    names = ("nll", "accuracy", "entropy", "confidence", "ece")
    values: dict[str, float]
    replicates: dict[str, Tensor]  #: [draws] each; all models use the same resamples of sentences


def quality(rows: Tokens, bins: int = BINS, draws: int = DRAWS, seed: int = SEED) -> Quality:
    """Return NLL and entropy (nats), accuracy, confidence and calibration error, with bootstrap replicates.

    Sentences are resampled, not tokens, because the tokens of a sentence depend on each other. The bins are the same in
    all resamples.
    """
    means = torch.stack([rows.nll, rows.correct, rows.entropy, rows.confidence], 1).double()
    place = adaptive_bins(rows.confidence, bins)
    gaps = torch.zeros(len(rows), bins, dtype=torch.float64)
    gaps.scatter_(1, place[:, None], (rows.confidence.double() - rows.correct.double())[:, None])
    columns = torch.cat([means, gaps], 1)
    _, sums, count = rows.by_unit(columns)
    drawn = resampled_ratios(sums, count.double(), draws, seed)
    whole = columns.mean(0, keepdim=True)

    def collected(table: Tensor) -> list[Tensor]:
        return [*table[:, : means.size(1)].T, table[:, means.size(1) :].abs().sum(1)]

    return Quality(
        dict(zip(Quality.names, (float(value) for value in collected(whole)), strict=True)),
        dict(zip(Quality.names, collected(drawn), strict=True)),
    )
