"""Intervals, and what they say of a claim."""

from __future__ import annotations

import math

import pytest
import torch

from fairseq_lskd.analysis.bootstrap import Interval, mean_interval
from fairseq_lskd.analysis.intervals import series_interval, shown, t_interval, unsure, verdict


@pytest.mark.parametrize(
    ("low", "high", "positive", "said"),
    [
        (0.1, 0.9, True, "held"),
        (-0.9, -0.1, True, "not held"),
        (-0.1, 0.9, True, "undecided"),
        (-0.9, -0.1, False, "held"),
        (0.1, 0.9, False, "not held"),
        (math.nan, math.nan, True, "undecided"),
    ],
)
def test_verdicts(low: float, high: float, positive: bool, said: str) -> None:
    assert verdict(Interval((low + high) / 2, low, high), positive) == said


def test_the_t_interval_by_hand() -> None:
    found = t_interval([1.0, 2.0, 3.0])  # mean 2, standard deviation 1
    assert found.value == 2 and found.high - 2 == pytest.approx(4.303 / math.sqrt(3))
    assert math.isnan(t_interval([1.0]).low)


def test_three_seeds_are_covered_as_often_as_promised() -> None:
    found = [t_interval(sample) for sample in torch.randn(2000, 3).add(1).tolist()]
    assert 0.935 <= sum(each.low <= 1 <= each.high for each in found) / len(found) <= 0.965


def test_neighbours_that_are_alike_widen_the_interval() -> None:
    slow = torch.randn(40).repeat_interleave(10)
    alone, together = mean_interval(slow), series_interval(slow.tolist())
    assert together.value == pytest.approx(slow.mean().item())
    assert together.high - together.low > 1.8 * (alone.high - alone.low)


def test_three_points_are_too_few() -> None:
    assert math.isnan(series_interval([1.0, 2.0, 3.0]).low)


def test_an_interval_in_words() -> None:
    assert shown(Interval(1, 0.5, 2)) == "1.00 [0.50, 2.00]"
    assert shown(unsure(0.12345), 3, sign=True) == "+0.123 (no interval)"
