"""Intervals, and what they say of a claim."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fairseq_lskd.analysis.intervals import (
    Interval,
    mean_interval,
    percentile_interval,
    ratio_interval,
    resampled,
    spread_over_blocks,
    t_interval,
    verdict,
)


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


def test_draws_are_of_the_units_and_always_the_same() -> None:
    weights = resampled(lambda w: w, units=7, draws=50)
    assert weights.shape == (50, 7) and (weights.sum(1) == 7).all()
    assert (weights == resampled(lambda w: w, units=7, draws=50)).all()


def test_the_mean_is_covered_as_often_as_promised() -> None:
    rng = np.random.default_rng(3)
    samples = rng.exponential(size=(300, 80))
    bootstrap = [mean_interval(sample, draws=300) for sample in samples]
    assert 0.89 <= np.mean([found.low <= 1 <= found.high for found in bootstrap]) <= 0.98
    few = [t_interval(sample) for sample in rng.normal(1, size=(2000, 3))]
    assert 0.935 <= np.mean([found.low <= 1 <= found.high for found in few]) <= 0.965


def test_the_t_interval_by_hand() -> None:
    found = t_interval([1.0, 2.0, 3.0])  # mean 2, standard deviation 1
    assert found.value == 2 and found.high - 2 == pytest.approx(4.303 / math.sqrt(3))
    assert math.isnan(t_interval([1.0]).low)


def test_a_ratio_of_sums() -> None:
    found = ratio_interval([1, 2, 3], [2, 4, 6])
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert math.isnan(ratio_interval([1], [2]).low)


def test_draws_that_are_no_number_are_left_out() -> None:
    assert percentile_interval(1.0, [1.0, math.nan, 1.0]) == Interval(1.0, 1.0, 1.0)
    assert math.isnan(percentile_interval(1.0, [math.nan]).low)


def test_neighbours_that_are_alike_widen_the_interval() -> None:
    slow = np.repeat(np.random.default_rng(1).normal(size=20), 10)
    alone, together = mean_interval(slow), spread_over_blocks(slow, 10)
    assert together.high - together.low > 2 * (alone.high - alone.low)
    assert math.isnan(spread_over_blocks([1.0, 2.0, 3.0], 2).low)


def test_an_interval_in_words() -> None:
    assert str(Interval(1, 0.5, 2)) == "1.00 [0.50, 2.00]"
    assert Interval(0.12345).shown(3) == "0.123 [no interval]"
