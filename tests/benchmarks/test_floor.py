"""Tests of the floor of a form, with operations and bytes by hand, and of the ceilings of a CPU."""

import _floor
import pytest
import torch
from _forms import FORMS, make_problem


def test_operations_and_bytes():
    ceilings = _floor.Ceilings(rate=1e6, bandwidth=1e9)
    # 10 tokens, 20 types, widths 3 (student) and 5 (teacher): one product of the teacher and three of the student.
    found = _floor.floor("fused", 10, 20, 3, 5, 2, ceilings)
    assert found.products == pytest.approx((2 * 10 * 20 * (3 * 3 + 5)) / 1e6)
    assert found.bytes == pytest.approx(2 * (2 * (10 + 20) * 3 + (10 + 20) * 5) / 1e9)
    assert found.seconds == found.products
    assert _floor.floor("fused_top16", 10, 20, 3, 5, 2, ceilings).products == pytest.approx(2 * 10 * 20 * 9 / 1e6)
    assert _floor.floor("tie_kd_x3", 10, 20, 3, 5, 2, ceilings).products == pytest.approx(3 * found.products)


def test_forms_that_are_named_exist():
    assert FORMS.keys() >= _floor.TIMES.keys()


def test_ceilings_and_products_of_a_cpu():
    cpu = torch.device("cpu")
    ceilings = _floor.measure(torch.float32, cpu, 64, 2**16)
    assert ceilings.rate > 0 and ceilings.bandwidth > 0
    assert _floor.products_alone(make_problem(8, 16, 4, 4)) > 0
    before = torch.get_float32_matmul_precision()
    with _floor.tf32():
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
