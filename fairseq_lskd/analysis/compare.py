"""Differences between two teachers, with paired intervals."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .bootstrap import Interval, interval, mean_interval
from .classes import Pairs, rank_correlations, separation
from .information import mutual_information, mutual_information_draws
from .system import System, same_examples


@dataclass(frozen=True)
class Comparison:
    """The differences `other - base`. Intervals are over classes for means over classes, else over sentences."""

    base: System
    other: System
    variance: Interval  #: difference of 1 - S
    peak: Interval  #: difference of the mean probability of a class at its own examples
    rank: Tensor  #: [K] float64, rank correlation of each class's relations to the others
    similar: Interval | None  #: relative change of the separation from the most similar class; None: no activations
    dissimilar: Interval | None  #: relative change of the separation from a dissimilar class; None: no activations
    nll: Interval
    accuracy: Interval
    entropy: Interval
    ece: Interval
    information: Interval | None  #: nats; None: not measured

    @property
    def rank_correlation(self) -> Interval:
        """The mean of `rank` with its interval."""
        return mean_interval(self.rank[~self.rank.isnan()])

    @property
    def smoother(self) -> bool:
        """Whether `other` is known to be trained with more label smoothing."""
        return (
            self.base.smoothing is not None
            and self.other.smoothing is not None
            and self.other.smoothing > self.base.smoothing
        )


def compare(base: System, other: System, pairs: Pairs) -> Comparison:
    """Compare two teachers that were measured on the same examples.

    Args:
        base: the teacher to compare with.
        other: the teacher that is compared.
        pairs: a similar and a dissimilar class for each class with a whole distribution.

    Raises:
        ValueError: if the examples or their order differ.
    """
    if not same_examples([base, other]):
        raise ValueError(f"{base.name} and {other.name} were not measured on the same examples in the same order")
    ours, theirs = base.stability, other.stability
    variance = mean_interval(theirs.variances - ours.variances)
    # Widen the interval by the error of the sketches.
    slack = ours.error_bound + theirs.error_bound
    variance = Interval(variance.value, variance.low - slack, variance.high + slack)
    return Comparison(
        base=base,
        other=other,
        variance=variance,
        peak=mean_interval(other.profiles.peak - base.profiles.peak),
        rank=rank_correlations(base.relation, other.relation),
        similar=_separation_change(base, other, pairs.similar),
        dissimilar=_separation_change(base, other, pairs.dissimilar),
        nll=quality_difference(base, other, "nll"),
        accuracy=quality_difference(base, other, "accuracy"),
        entropy=quality_difference(base, other, "entropy"),
        ece=quality_difference(base, other, "ece"),
        information=_information_difference(base, other),
    )


def quality_difference(base: System, other: System, name: str) -> Interval:
    """Return the difference of a mean over examples, one of `Quality.names`, paired over sentences."""
    ours, theirs = base.quality, other.quality
    return interval(theirs.values[name] - ours.values[name], theirs.replicates[name] - ours.replicates[name])


def separations(system: System, partner: Tensor) -> Tensor | None:
    """Return the separation of each class from its partner, `[K]`, or None without activations."""
    if system.centres is None or system.spreads is None:
        return None
    return separation(system.centres, system.spreads, partner)


def _separation_change(base: System, other: System, partner: Tensor) -> Interval | None:
    """Return the relative change of the separation, `exp(mean log ratio) - 1`."""
    ours, theirs = separations(base, partner), separations(other, partner)
    if ours is None or theirs is None:
        return None
    change = (theirs / ours).log()
    found = mean_interval(change[change.isfinite()])
    return Interval(*(torch.tensor([found.value, found.low, found.high]).double().expm1().tolist()))


def _information_difference(base: System, other: System) -> Interval | None:
    if base.looks is None or other.looks is None:
        return None
    ours, theirs = (mutual_information(system.looks) for system in (base, other))  # type: ignore[arg-type]  # checked above
    draws = mutual_information_draws(other.looks) - mutual_information_draws(base.looks)
    return interval(theirs - ours, draws)
