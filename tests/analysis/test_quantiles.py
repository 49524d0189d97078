"""Quantiles of Student's t."""

from __future__ import annotations

import math

import pytest

from fairseq_lskd.analysis.quantiles import t_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 7, 30])
def test_the_table_of_t_against_its_density(freedom: int) -> None:
    constant = math.gamma((freedom + 1) / 2) / math.sqrt(freedom * math.pi) / math.gamma(freedom / 2)
    steps, width = 20_000, t_quantile(freedom) / 20_000
    density = [constant * (1 + (i * width) ** 2 / freedom) ** (-(freedom + 1) / 2) for i in range(steps + 1)]
    below = width * (sum(density) - (density[0] + density[-1]) / 2)
    assert 0.5 + below == pytest.approx(0.975, abs=2e-5)


def test_beyond_the_table_it_is_the_normal_quantile() -> None:
    assert t_quantile(30) == 2.042 and t_quantile(31) == t_quantile(1000) == 1.960
