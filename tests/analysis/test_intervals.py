"""Tests of intervals and verdicts."""

from __future__ import annotations

import math

import pytest
import torch

from fairseq_lskd.analysis.bootstrap import Interval, mean_interval
from fairseq_lskd.analysis.intervals import HELD, NOT_HELD, UNDECIDED, series_interval, t_interval, verdict


@pytest.mark.parametrize(
    ("low", "high", "positive", "threshold", "said"),
    [
        (0.1, 0.9, True, 0, HELD),
        (-0.9, -0.1, True, 0, NOT_HELD),
        (-0.1, 0.9, True, 0, UNDECIDED),
        (-0.9, -0.1, False, 0, HELD),
        (0.1, 0.9, False, 0, NOT_HELD),
        (-0.1, 0.1, False, 0, UNDECIDED),
        (-0.004, 0.001, True, -0.005, HELD),
        (-0.02, -0.01, True, -0.005, NOT_HELD),
        (-0.02, 0.01, True, -0.005, UNDECIDED),
        (math.nan, math.nan, True, 0, UNDECIDED),
        (math.nan, math.nan, False, 0, UNDECIDED),
    ],
)
def test_a_verdict_needs_the_whole_interval(
    low: float, high: float, positive: bool, threshold: float, said: str
) -> None:
    assert verdict(Interval((low + high) / 2, low, high), positive, threshold) == said


def test_the_t_interval_by_hand() -> None:
    found = t_interval([1.0, 2.0, 3.0])  # mean 2, standard deviation 1
    assert found.value == 2 and found.high - 2 == pytest.approx(4.302653 / math.sqrt(3))
    assert math.isnan(t_interval([1.0]).low)


def test_coverage_with_three_seeds() -> None:
    found = [t_interval(sample) for sample in torch.randn(2000, 3).add(1).tolist()]
    assert 0.935 <= sum(each.low <= 1 <= each.high for each in found) / len(found) <= 0.965


def test_correlation_widens_the_interval() -> None:
    slow = torch.randn(40).repeat_interleave(10)
    alone, together = mean_interval(slow), series_interval(slow.tolist())
    assert together.value == pytest.approx(slow.mean().item())
    assert together.high - together.low > 1.8 * (alone.high - alone.low)


def test_three_points_are_too_few() -> None:
    assert math.isnan(series_interval([1.0, 2.0, 3.0]).low)
