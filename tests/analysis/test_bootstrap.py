"""Tests of bootstrap intervals."""

import math

import pytest
import torch

from fairseq_lskd.analysis.bootstrap import Interval, interval, mean_interval, resampled_ratios, resamples
from fairseq_lskd.analysis.intervals import UNDECIDED, verdict


def test_each_resample_has_as_many_units_as_the_sample():
    weights = torch.cat(list(resamples(7, 300)))
    assert weights.shape == (300, 7) and torch.equal(weights.sum(1), torch.full((300,), 7.0, dtype=torch.float64))
    assert weights.mean(0).tolist() == pytest.approx([1.0] * 7, abs=0.25)


def test_resamples_are_reproducible():
    assert torch.equal(torch.cat(list(resamples(9, 40, seed=3))), torch.cat(list(resamples(9, 40, seed=3))))


def test_ratios_are_of_weighted_sums():
    top, bottom = torch.rand(6, 2, dtype=torch.float64), torch.rand(6, dtype=torch.float64)
    found = resampled_ratios(top, bottom, draws=20, seed=5)
    weights = torch.cat(list(resamples(6, 20, seed=5)))
    for row, weight in zip(found, weights, strict=True):
        for column in range(2):
            assert row[column].item() == pytest.approx(float((weight * top[:, column]).sum() / (weight * bottom).sum()))


def test_coverage_of_a_mean_is_near_95_percent():
    hits = 0
    for seed in range(200):
        values = torch.randn(80, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 2
        found = mean_interval(values, draws=400, seed=seed)
        hits += found.low <= 2 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_constants_and_empty_samples():
    found = mean_interval(torch.full((5,), 3.0))
    assert (found.value, found.low, found.high, found.sign) == (3, 3, 3, 1)
    assert math.isnan(mean_interval(torch.zeros(0)).value)
    assert math.isnan(interval(1.0, torch.tensor([math.nan])).low)


def test_one_unit_has_no_interval_and_no_verdict():
    found = mean_interval(torch.tensor([3.0]))
    assert found.value == 3 and math.isnan(found.low) and math.isnan(found.high)
    assert found.sign == 0 and verdict(found) == UNDECIDED


@pytest.mark.parametrize(("low", "high", "sign"), [(0.1, 0.2, 1), (-0.2, -0.1, -1), (-0.1, 0.1, 0), (0, 0.1, 0)])
def test_a_sign_is_that_of_the_whole_interval(low, high, sign):
    assert Interval(0.0, low, high).sign == sign


def test_intervals_are_shown_with_sign_and_factor():
    found = Interval(0.0123, -0.001, 0.02)
    assert str(found) == "0.0123 [-0.001, 0.02]"
    assert found.shown(1, sign=True, factor=100) == "+1.2 [-0.1, +2.0]"
    assert found.shown() == "0.01 [-0.00, 0.02]"
    assert Interval(0.12345, math.nan, math.nan).shown(3, sign=True) == "+0.123 (no interval)"
