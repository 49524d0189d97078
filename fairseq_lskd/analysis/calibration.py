"""Calibration of single predictions: whether what is said with confidence p is right p of the time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .bootstrap import DRAWS, SEED, resampled_ratios
from .measurement import Tokens

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Predictions in bins of nearly equal mass, of ascending confidence; of B <= bins that are not empty."""

    count: Tensor  #: [B] int64
    confidence: Tensor  #: [B] float64, the mean
    accuracy: Tensor  #: [B] float64

    @property
    def error(self) -> float:
        """The expected calibration error: `sum_b n_b / n |accuracy_b - confidence_b|`."""
        gaps = (self.accuracy - self.confidence).abs() * self.count
        return (gaps.sum() / self.count.sum()).item()


def adaptive_bins(confidence: Tensor, bins: int = BINS) -> Tensor:
    """`[N]` int64, the bin of each prediction: with edges at quantiles, equal confidences together (Nguyen &
    O'Connor, EMNLP 2015), so that the result does not depend on the order of examples.
    """
    if not len(confidence):
        return torch.zeros(0, dtype=torch.int64)
    ordered = confidence.double().sort().values
    places = torch.arange(1, bins) * len(ordered) // bins
    return torch.searchsorted(ordered[places].unique(), confidence.double(), right=True)


def reliability(confidence: Tensor, correct: Tensor, bins: int = BINS) -> Reliability:
    """A reliability diagram in adaptive bins.

    Args:
        confidence: `[N]`, of the predicted class; correct: `[N]` bool.
    """
    place = adaptive_bins(confidence, bins)
    count = torch.bincount(place, minlength=bins)
    sure = torch.bincount(place, confidence.double(), minlength=bins)
    right = torch.bincount(place, correct.double(), minlength=bins)
    keep = count > 0
    return Reliability(count[keep], sure[keep] / count[keep], right[keep] / count[keep])


@dataclass(frozen=True)
class Quality:
    """Means over examples, and the same of resamples of whole sentences."""

    names = ("nll", "accuracy", "entropy", "confidence", "ece")
    values: dict[str, float]
    replicates: dict[str, Tensor]  #: [draws] each; of all models the same sentences


def _by_unit(rows: Tokens, columns: Tensor) -> Tensor:
    _, place = rows.unit.unique(return_inverse=True)
    return torch.zeros(int(place.max()) + 1, columns.size(1), dtype=torch.float64).index_add_(0, place, columns)


def quality(rows: Tokens, bins: int = BINS, draws: int = DRAWS, seed: int = SEED) -> Quality:
    """NLL and entropy (nats), accuracy, confidence and calibration error of a model, with bootstrap replicates.

    Sentences are resampled, not tokens, since the tokens of a sentence depend on each other. The bins stay
    those of all examples.
    """
    means = torch.stack([rows.nll, rows.correct, rows.entropy, rows.confidence], 1).double()
    place = adaptive_bins(rows.confidence, bins)
    gaps = torch.zeros(len(rows), bins, dtype=torch.float64)
    gaps.scatter_(1, place[:, None], (rows.confidence.double() - rows.correct.double())[:, None])
    columns = torch.cat([means, gaps], 1)
    units = _by_unit(rows, torch.cat([columns, torch.ones(len(rows), 1, dtype=torch.float64)], 1))
    drawn = resampled_ratios(units[:, :-1], units[:, -1], draws, seed)
    whole = columns.mean(0, keepdim=True)

    def collected(table: Tensor) -> list[Tensor]:
        return [*table[:, : means.size(1)].T, table[:, means.size(1) :].abs().sum(1)]

    return Quality(
        dict(zip(Quality.names, (float(value) for value in collected(whole)), strict=True)),
        dict(zip(Quality.names, collected(drawn), strict=True)),
    )
