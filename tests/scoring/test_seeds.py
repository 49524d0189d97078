"""Mean, deviation and interval over seeds."""

from __future__ import annotations

import math

import pytest

from fairseq_lskd.scoring.seeds import _T, spread


def test_by_hand() -> None:
    found = spread([30.0, 31.0, 32.0])
    assert (found.n, found.mean, found.std) == (3, 31.0, 1.0)
    # 4.303 / sqrt(3)
    assert found.interval == pytest.approx((31 - 2.4843, 31 + 2.4843), abs=1e-4)
    assert spread([5.0]) == (1, 5.0, None, None)
    with pytest.raises(ValueError):
        spread([])


@pytest.mark.parametrize("freedom", [1, 2, 3, 7, 30])
def test_the_table_of_t_against_its_density(freedom: int) -> None:
    constant = math.gamma((freedom + 1) / 2) / math.sqrt(freedom * math.pi) / math.gamma(freedom / 2)
    steps, width = 20_000, _T[freedom - 1] / 20_000
    density = [constant * (1 + (i * width) ** 2 / freedom) ** (-(freedom + 1) / 2) for i in range(steps + 1)]
    below = width * (sum(density) - (density[0] + density[-1]) / 2)
    assert 0.5 + below == pytest.approx(0.975, abs=2e-5)


def test_many_seeds_have_the_normal_quantile() -> None:
    found = spread([0.0, 1.0] * 20)
    assert found.interval is not None and found.std is not None
    assert found.interval[1] - found.mean == pytest.approx(1.96 * found.std / math.sqrt(40))
