"""The share of the gap closed: how far distillation moves a student from no teacher's score to its teacher's."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from ..analysis.quantiles import t_quantile
from .seeds import Spread, spread

#: Texts in place of a share.
UNDECIDED, NO_GAP = "undecided", "no gap"


class Share(NamedTuple):
    """(student - plain) / (teacher - plain), of means over seeds. The plain student has no teacher."""

    n: int  #: number of seeds
    share: float | None  #: 0.62 for 62 %; None if there is no gap, or the gap is undecided
    interval: tuple[float, float] | None  #: 95 % confidence interval; None for one seed or without a share
    gap: Spread  #: teacher minus plain student

    def __str__(self) -> str:
        """Format for a table: `62 % [48, 77]`, `62 %` for one seed, or why there is no share."""
        if self.share is None:
            return NO_GAP if self._without_gap else UNDECIDED
        text = f"{percent(self.share)} %"
        return f"{text} [{', '.join(map(percent, self.interval))}]" if self.interval else text

    @property
    def _without_gap(self) -> bool:
        return self.gap.interval[1] < 0 if self.gap.interval else self.gap.mean <= 0


def share_of_gap(student: Sequence[float], plain: Sequence[float], teacher: Sequence[float]) -> Share:
    """Return the share of the gap closed, with Fieller's 95 % interval over seeds.

    Fieller (1954, Some problems in interval estimation): let x = student - plain and y = teacher - plain for each seed.
    The interval has all r for which the mean of x - r y does not differ significantly from 0 (Student's t). It is
    bounded if and only if the gap, the mean of y, differs significantly from 0. Otherwise no share is given.

    Args:
        student: the student's score for each seed; higher is better.
        plain: those of the student without a teacher, in the same order of seeds.
        teacher: those of the teacher, in the same order.

    Raises:
        ValueError: if there is no seed, or the lengths differ.
    """
    x = [one - base for one, base in zip(student, plain, strict=True)]
    y = [one - base for one, base in zip(teacher, plain, strict=True)]
    n, gap = len(x), spread(y)
    if n == 1:
        return Share(n, x[0] / y[0] if y[0] > 0 else None, None, gap)
    mean_x, mean_y = statistics.fmean(x), gap.mean
    scale = t_quantile(n - 1) ** 2 / n
    # a r^2 - 2 b r + c <= 0
    a = mean_y**2 - scale * statistics.variance(y)
    b = mean_x * mean_y - scale * statistics.covariance(x, y)
    c = mean_x**2 - scale * statistics.variance(x)
    if a <= 0 or mean_y <= 0:
        return Share(n, None, None, gap)
    # The discriminant is negative only by rounding, because the share itself is in the interval.
    root = math.sqrt(max(b * b - a * c, 0.0))
    return Share(n, mean_x / mean_y, ((b - root) / a, (b + root) / a), gap)


def percent(share: float) -> str:
    return f"{round(100 * share)}"
