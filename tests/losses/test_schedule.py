"""Numbers that follow a schedule."""

import math

import pytest

from fairseq_lskd.losses import SCHEDULES, Schedule


def test_literals():
    """From 1 to 3 in 4 updates; half of a cosine's way is gone after half of its time, 15 % after a quarter."""
    linear, cosine = (Schedule(1.0, 3.0, 4, kind) for kind in ("linear", "cosine"))
    assert [linear.at(update) for update in range(6)] == [1, 1.5, 2, 2.5, 3, 3]
    gone = 1 - math.sqrt(0.5)
    assert [cosine.at(update) for update in range(6)] == pytest.approx([1, 1 + gone, 2, 3 - gone, 3, 3])


@pytest.mark.parametrize("kind", SCHEDULES)
def test_it_goes_down_too_and_ends_exactly_there(kind):
    found = [Schedule(0.9, 0.1, 7, kind).at(update) for update in range(9)]
    assert found[0] == 0.9 and found[7:] == [0.1, 0.1] and found == sorted(found, reverse=True)
