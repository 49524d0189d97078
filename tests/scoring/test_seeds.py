"""Tests of mean, standard deviation and interval over seeds."""

from __future__ import annotations

import math

import pytest

from fairseq_lskd.scoring.seeds import spread


def test_mean_deviation_and_interval_by_hand() -> None:
    found = spread([30.0, 31.0, 32.0])
    assert (found.n, found.mean, found.std) == (3, 31.0, 1.0)
    # 4.302653 / sqrt(3)
    assert found.interval == pytest.approx((31 - 2.484138, 31 + 2.484138), abs=1e-6)
    assert spread([5.0]) == (1, 5.0, None, None)
    with pytest.raises(ValueError):
        spread([])


def test_forty_seeds_have_the_quantile_of_39_degrees_of_freedom() -> None:
    found = spread([0.0, 1.0] * 20)
    assert found.interval is not None and found.std is not None
    assert found.interval[1] - found.mean == pytest.approx(2.02269 * found.std / math.sqrt(40), rel=1e-5)
