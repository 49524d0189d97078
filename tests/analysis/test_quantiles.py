"""Tests of the quantiles of Student's t distribution."""

from __future__ import annotations

import math

import pytest

from fairseq_lskd.analysis.quantiles import t_half_width, t_quantile


@pytest.mark.parametrize(
    ("freedom", "printed"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (31, 2.040), (60, 2.000), (120, 1.980)],
)
def test_quantiles_of_printed_tables(freedom: int, printed: float) -> None:
    assert t_quantile(freedom) == pytest.approx(printed, abs=5e-4)


@pytest.mark.parametrize("freedom", [1, 2, 3, 8, 31, 200])
def test_the_density_up_to_the_quantile_integrates_to_0_975(freedom: int) -> None:
    log_constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    steps, width = 20_000, t_quantile(freedom) / 20_000
    heights = [
        math.exp(log_constant) * (1 + (i * width) ** 2 / freedom) ** (-(freedom + 1) / 2) for i in range(steps + 1)
    ]
    assert 0.5 + width * (sum(heights) - (heights[0] + heights[-1]) / 2) == pytest.approx(0.975, abs=1e-6)


def test_the_quantile_falls_towards_the_normal_one() -> None:
    found = [t_quantile(freedom) for freedom in (*range(1, 100), 1_000, 10_000)]
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(1.95996, abs=3e-4) and found[-1] > 1.95996


def test_no_degree_of_freedom_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 degrees of freedom"):
        t_quantile(0)


def test_the_half_width_of_three_values_by_hand() -> None:
    assert t_half_width([1.0, 2.0, 3.0]) == pytest.approx(4.302653 / math.sqrt(3), abs=1e-6)
