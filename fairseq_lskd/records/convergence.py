"""The length of a training run, and whether its validation metric had stopped improving when it ended."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass

from .logs import Curve, Curves

#: A run has converged if the metric gained less than this share in the last fifth of the updates.
SHARE = 0.01
_LEAST = 2  #: minimum number of validations per fifth, so that one lucky checkpoint does not decide


@dataclass(frozen=True)
class Convergence:
    """The state of a training run at its end, judged by its validations."""

    best: float | None  #: best value of the metric
    interval: int | None  #: median number of updates between validations
    gain: float | None  #: last fifth of the updates minus the fifth before; positive if the model got better
    converged: bool | None  #: None if there are too few validations


def convergence(curve: Curve, updates: int, maximize: bool) -> Convergence:
    """Judge a training run by the curve of its validation metric.

    The gain is the mean of the metric over the validations in the last fifth of the updates, minus the mean over the
    fifth before. The run has converged if the gain is below 1 % of the mean over the last fifth. It has not converged
    if the metric is NaN or infinite in either fifth.

    Args:
        curve: the validation metric.
        updates: number of updates of the run.
        maximize: whether larger values are better. If False, the gain has the opposite sign.
    """
    points = list(zip(curve.updates, curve.values, strict=True))
    known = [value for _, value in points if math.isfinite(value)]
    best = (max if maximize else min)(known, default=None)
    steps = [later - earlier for earlier, later in itertools.pairwise(curve.updates)]
    interval = round(statistics.median(steps)) if steps else None
    # Compare integers: a rounded 0.8 * updates could put a validation into the wrong fifth.
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
    """Return the number of updates of a training run: the last one in any of its curves."""
    return max(curve.updates[-1] for curve in curves.values())


def target_tokens(curves: Curves) -> int | None:
    """Return the number of target tokens that were trained on, or None if fairseq did not log it.

    Ends of sentences count, padding does not. The number is summed from fairseq's `wpb`, the mean number of tokens per
    update since the previous log line, which is rounded to 0.1.
    """
    logged = curves.get(("train", "wpb")) or curves.get(("train_epoch", "wpb"))
    if logged is None:
        return None
    steps = (later - earlier for earlier, later in itertools.pairwise([0, *logged.updates]))
    total = math.fsum(step * mean for step, mean in zip(steps, logged.values, strict=True))
    # Updates after the last point count as the mean of all others.
    return round(total * updates_of(curves) / logged.updates[-1]) if logged.updates[-1] else None
