"""The share of the gap between a student without a teacher and its teacher that distilling closes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from ..analysis.quantiles import t_quantile
from .seeds import Spread, spread

#: What is said in place of a share.
UNDECIDED, NO_GAP = "undecided", "no gap"


class Share(NamedTuple):
    """(student - plain) / (teacher - plain), of the means over seeds; the plain student has no teacher."""

    n: int  #: seeds
    share: float | None  #: 0.62 for 62 %; None where there is no gap, or it is not clear that there is one
    interval: tuple[float, float] | None  #: 95 %; None for one seed, and where there is no share
    gap: Spread  #: teacher less plain student

    def __str__(self) -> str:
        """As in a table: `62 % [48, 77]`, `62 %` of one seed, or why there is no share."""
        if self.share is None:
            return NO_GAP if self._without_gap else UNDECIDED
        text = f"{percent(self.share)} %"
        return f"{text} [{', '.join(map(percent, self.interval))}]" if self.interval else text

    @property
    def _without_gap(self) -> bool:
        return self.gap.interval[1] < 0 if self.gap.interval else self.gap.mean <= 0


def share_of_gap(student: Sequence[float], plain: Sequence[float], teacher: Sequence[float]) -> Share:
    """The share, with Fieller's interval over the seeds.

    Fieller (1954, Some problems in interval estimation): with x = student - plain and y = teacher - plain of each seed,
    all r belong to it for which the mean of x - r y is not clear of 0 by Student's t. It has both ends just where the
    gap, the mean of y, is clear of 0. Else any share fits, and none is given.

    Args:
        student, plain, teacher: a score a seed, in the same order of seeds. More is better.

    Raises:
        ValueError: if there is no seed, or the three are not of the same length.
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
    # Not negative, as the share itself is within, but for rounding.
    root = math.sqrt(max(b * b - a * c, 0.0))
    return Share(n, mean_x / mean_y, ((b - root) / a, (b + root) / a), gap)


def percent(share: float) -> str:
    """0.62 as 62."""
    return f"{round(100 * share)}"
