"""Tests of the share of the gap closed: by hand, against the definition, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fairseq_lskd.scoring.gap import NO_GAP, UNDECIDED, share_of_gap
from fairseq_lskd.scoring.seeds import spread

#: Students are 5, 7 and 6 above the plain students, teachers 10, 11 and 12.
STUDENT, PLAIN, TEACHER = [25.0, 28.0, 28.0], [20.0, 21.0, 22.0], [30.0, 32.0, 34.0]


def test_by_hand() -> None:
    found = share_of_gap(STUDENT, PLAIN, TEACHER)
    assert found.n == 3 and found.share == pytest.approx(6 / 11) and found.gap.mean == 11
    # t = 4.3027, t^2 / 3 = 6.1709; variances 1 and 1, covariance 1/2:
    # (121 - 6.1709) r^2 - 2 (66 - 3.0855) r + (36 - 6.1709) = 0 at r = (62.9145 +- 23.0867) / 114.8291.
    assert found.interval == pytest.approx((0.34685, 0.74895), abs=2e-4)
    assert str(found) == "55 % [35, 75]"


def test_seeds_are_paired() -> None:
    """The interval changes if the students' seeds are permuted."""
    other = share_of_gap([20 + 7, 21 + 5, 22 + 6], PLAIN, TEACHER)
    assert other.share == pytest.approx(6 / 11)
    assert other.interval is not None and other.interval != pytest.approx((0.34685, 0.74895), abs=2e-4)


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_against_the_definition(seeds: int) -> None:
    """The interval has all r for which Student's t interval of x - r y contains 0."""
    random = np.random.default_rng(seeds)
    for _ in range(20):
        plain = random.normal(20, 1, seeds)
        teacher, student = plain + random.normal(8, 0.3, seeds), plain + random.normal(4, 1, seeds)
        found = share_of_gap(student.tolist(), plain.tolist(), teacher.tolist())
        assert found.interval is not None and found.share is not None

        def fits(r: float, x: np.ndarray = student - plain, y: np.ndarray = teacher - plain) -> bool:
            low, high = spread((x - r * y).tolist()).interval or (math.nan, math.nan)
            return low <= 0 <= high

        low, high = found.interval
        assert low < found.share < high and fits(found.share)
        for end, inner in ((low, 1e-6), (high, -1e-6)):
            assert fits(end + inner) and not fits(end - inner)
            assert not fits(end - 1e4 * inner) and not fits(end - 1e7 * inner)


@pytest.mark.parametrize(("seeds", "share"), [(3, 0.6), (5, 0.0), (10, 1.2)])
def test_the_interval_covers_the_truth_in_95_percent_of_cases(seeds: int, share: float) -> None:
    """The plain student varies by 1 BLEU; teacher and student are correlated with it."""
    random = np.random.default_rng(seeds)
    inside, draws = 0, 4000
    for _ in range(draws):
        plain = random.normal(20, 1, seeds)
        teacher = 30 + 0.5 * (plain - 20) + random.normal(0, 0.5, seeds)
        student = 20 + 10 * share + 0.3 * (plain - 20) + random.normal(0, 0.7, seeds)
        found = share_of_gap(student.tolist(), plain.tolist(), teacher.tolist())
        inside += found.interval is not None and found.interval[0] <= share <= found.interval[1]
    # Four standard errors of the simulation.
    assert inside / draws == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / draws))


def test_one_seed_has_no_interval() -> None:
    found = share_of_gap([25.0], [20.0], [28.0])
    assert (found.n, found.share, found.interval, str(found)) == (1, 0.625, None, "62 %")


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        ([20.5, 21.0, 25.0], UNDECIDED),
        ([20.0, 21.0, 22.0], UNDECIDED),  # mean and standard deviation of the gap are 0
        ([19.0, 19.5, 21.5], UNDECIDED),
        ([18.0, 19.1, 20.2], NO_GAP),  # clearly worse
    ],
)
def test_where_there_is_no_share(teacher: list[float], said: str) -> None:
    found = share_of_gap(STUDENT, PLAIN, teacher)
    assert (found.share, found.interval, str(found)) == (None, None, said)


@pytest.mark.parametrize("teacher", [20.0, 19.0])
def test_one_seed_whose_teacher_is_no_better(teacher: float) -> None:
    assert str(share_of_gap([25.0], [20.0], [teacher])) == NO_GAP


def test_shares_below_0_and_above_100_percent() -> None:
    assert str(share_of_gap([19.0], [20.0], [30.0])) == "-10 %"
    assert str(share_of_gap([31.0], [20.0], [30.0])) == "110 %"
    assert str(share_of_gap([19.99], [20.0], [30.0])) == "0 %"
    # All seeds have the same share: the interval has width 0.
    assert share_of_gap([25.0, 26.0], [20.0, 21.0], [30.0, 31.0]).interval == (0.5, 0.5)


def test_unequal_numbers_of_seeds_are_refused() -> None:
    with pytest.raises(ValueError):
        share_of_gap([1.0], [1.0, 2.0], [3.0, 4.0])
    with pytest.raises(ValueError):
        share_of_gap([], [], [])
