"""Tests of the convergence criterion."""

from __future__ import annotations

import math

import pytest

from fairseq_lskd.records.convergence import Convergence, convergence, target_tokens, updates_of
from fairseq_lskd.records.logs import Curve


def curve(values: list[float], interval: int = 100) -> Curve:
    return Curve([interval * (i + 1) for i in range(len(values))], values)


@pytest.mark.parametrize(
    ("values", "maximize", "wanted"),
    [
        # Of 1,000 updates: 700 and 800 in the fifth before, 900 and 1,000 in the last; (30 + 31) / 2 - (29 + 29) / 2.
        ([0, 9, 20, 25, 28, 29, 29, 29, 30, 31], True, Convergence(31, 100, 1.5, False)),
        # 1 % of 30 is 0.3: a gain of 0.25 is below it, one of 0.3 is not.
        ([0, 0, 0, 0, 0, 0, 29.75, 29.75, 30, 30], True, Convergence(30, 100, 0.25, True)),
        ([0, 0, 0, 0, 0, 0, 99, 99, 100, 100], True, Convergence(100, 100, 1, False)),
        # The metric got worse.
        ([0, 0, 0, 0, 0, 35, 31, 31, 30, 30], True, Convergence(35, 100, -1, True)),
        # A loss that fell from 4.5 to 4, and one that rose.
        ([9, 9, 9, 9, 9, 9, 4.5, 4.5, 4, 4], False, Convergence(4, 100, 0.5, False)),
        ([9, 9, 9, 9, 9, 9, 4, 4, 4.5, 4.5], False, Convergence(4, 100, -0.5, True)),
        # A diverged run has not converged.
        ([1, 2, 3, 4, 5, 6, 6, 6, 6, math.nan], True, Convergence(6, 100, None, False)),
        # Too few validations.
        ([1, 2, 3, 4, 5], True, Convergence(5, 100, None, None)),
        ([1], True, Convergence(1, None, None, None)),
        ([], False, Convergence(None, None, None, None)),
    ],
)
def test_by_hand(values: list[float], maximize: bool, wanted: Convergence) -> None:
    found = convergence(curve(values), 100 * len(values), maximize)
    assert found == Convergence(wanted.best, wanted.interval, pytest.approx(wanted.gain), wanted.converged)


def test_a_bound_belongs_to_the_fifth_before_it() -> None:
    # 0.8 * 1,050 = 840 and 0.6 * 1,050 = 630 exactly, but not in floats.
    points = Curve([630, 700, 840, 900, 1050], [0.0, 10.0, 20.0, 30.0, 30.0])
    assert convergence(points, 1050, True).gain == 15


def test_fifths_are_of_the_updates_not_of_the_validations() -> None:
    # 1,000 updates with more frequent validation at the beginning.
    points = Curve([10, 20, 30, 40, 650, 750, 850, 1000], [9.0, 9.0, 9.0, 9.0, 1.0, 3.0, 4.0, 4.0])
    assert convergence(points, 1000, True).gain == 2
    assert convergence(points, 1000, True).interval == 100


def test_tokens_and_updates() -> None:
    # 20 updates of 100 tokens, 20 of 110, and 5 that were not logged: 4,200 * 45 / 40.
    curves = {("train", "wpb"): Curve([20, 40], [100.0, 110.0]), ("valid", "loss"): Curve([45], [3.0])}
    assert updates_of(curves) == 45 and target_tokens(curves) == 4725
    assert target_tokens({("train_epoch", "wpb"): Curve([10, 30], [50.0, 100.0])}) == 2500
    assert target_tokens({("valid", "loss"): Curve([45], [3.0])}) is None
