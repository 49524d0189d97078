"""Whether a training had stopped improving when it ended, by its validation curve, and how long it was."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass

from .logs import Curve, Curves

#: A training had converged if its last fifth gained less than this share of the metric.
SHARE = 0.01
_LEAST = 2  #: validations that a fifth needs, so that one lucky checkpoint does not decide


@dataclass(frozen=True)
class Convergence:
    """What the validations of a training say of its end."""

    best: float | None  #: the metric's best value
    interval: int | None  #: updates from one validation to the next, the median
    gain: float | None  #: of the last fifth of the updates over the fifth before, above 0 where the model got better
    converged: bool | None  #: None where there are too few validations to tell


def convergence(curve: Curve, updates: int, maximize: bool) -> Convergence:
    """Judge a training of so many updates by the curve of its validation metric.

    The gain is the mean of the metric over the validations in the last fifth of the updates, less the mean over the
    fifth before. The training had converged if that is below 1 % of the former mean. A metric that is no number there
    has not converged.

    Args:
        maximize: whether a larger value is a better one; the gain of others has the sign turned.
    """
    points = list(zip(curve.updates, curve.values, strict=True))
    known = [value for _, value in points if math.isfinite(value)]
    best = (max if maximize else min)(known, default=None)
    steps = [later - earlier for earlier, later in itertools.pairwise(curve.updates)]
    interval = round(statistics.median(steps)) if steps else None
    # In whole numbers: 0.8 x 1,000 is not to be a little above 800.
    last = [value for update, value in points if 5 * update > 4 * updates]
    before = [value for update, value in points if 3 * updates < 5 * update <= 4 * updates]
    if min(len(last), len(before)) < _LEAST:
        return Convergence(best, interval, None, None)
    if not all(map(math.isfinite, [*last, *before])):
        return Convergence(best, interval, None, False)
    level = statistics.fmean(last)
    gain = level - statistics.fmean(before)
    gain = gain if maximize else -gain
    return Convergence(best, interval, gain, gain < SHARE * abs(level))


def updates_of(curves: Curves) -> int:
    """The updates of a training: the last that any of its curves has."""
    return max(curve.updates[-1] for curve in curves.values())


def target_tokens(curves: Curves) -> int | None:
    """The target tokens that a training saw, padding aside and the ends of sentences included; None: not logged.

    They are counted by fairseq's `wpb`, the mean number in an update since it was logged last, to 0.1.
    """
    logged = curves.get(("train", "wpb")) or curves.get(("train_epoch", "wpb"))
    if logged is None:
        return None
    steps = (later - earlier for earlier, later in itertools.pairwise([0, *logged.updates]))
    total = math.fsum(step * mean for step, mean in zip(steps, logged.values, strict=True))
    # Updates after the last point have the mean of all.
    return round(total * updates_of(curves) / logged.updates[-1]) if logged.updates[-1] else None
