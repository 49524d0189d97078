"""Schedules of a number."""

import math

import pytest

from fairseq_lskd.losses import SCHEDULES, Schedule


def test_literals():
    """From 1 to 3 in 4 updates. A cosine has 15 % of the change after a quarter of the updates, half after half."""
    linear, cosine = (Schedule(1.0, 3.0, 4, kind) for kind in ("linear", "cosine"))
    assert [linear.at(update) for update in range(6)] == [1, 1.5, 2, 2.5, 3, 3]
    change = 1 - math.sqrt(0.5)
    assert [cosine.at(update) for update in range(6)] == pytest.approx([1, 1 + change, 2, 3 - change, 3, 3])


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_falling_schedule_ends_exactly_at_its_end(kind):
    found = [Schedule(0.9, 0.1, 7, kind).at(update) for update in range(9)]
    assert found[0] == 0.9 and found[7:] == [0.1, 0.1] and found == sorted(found, reverse=True)
