"""Selective distillation: the threshold of hard tokens, and the queue of earlier ones."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import hardest

from fairseq_lskd.losses import loss_threshold, push

VALUES = st.lists(st.floats(0, 50, width=32), max_size=30)


@pytest.mark.parametrize(
    ("share", "wanted"), [(1.0, 0.5), (0.75, 1.0), (0.5, 2.0), (0.51, 1.0), (0.25, 4.0), (0.01, 4.0)]
)
def test_the_threshold_of_four_losses_by_hand(share, wanted):
    assert loss_threshold(torch.tensor([2.0, 0.5, 4.0, 1.0]), share).item() == wanted


def test_a_share_is_exact_despite_floating_point():
    """7 of 25 tokens are 28 %, although 0.28 * 25 is a little above 7 in floating point."""
    assert (torch.arange(25.0) >= loss_threshold(torch.arange(25.0), 0.28)).sum() == 7


@given(VALUES, st.integers(1, 100))
@settings(max_examples=60)
def test_threshold_matches_the_definition_and_selects_the_share(values, percent):
    nll = torch.tensor(values)
    found = nll >= loss_threshold(nll, percent / 100)
    assert found.tolist() == hardest(values, percent / 100)
    count = math.ceil(Fraction(percent, 100) * len(values))
    assert found.sum() >= count
    if len(set(values)) == len(values):
        assert found.sum() == count


def test_the_threshold_of_no_values_is_infinite():
    assert loss_threshold(torch.empty(0), 0.5).item() == math.inf


def test_queue_literals():
    queue = torch.full((4,), math.nan)
    queue = push(queue, torch.tensor([1.0, 2.0]))
    assert queue.isnan().tolist() == [True, True, False, False] and queue[2:].tolist() == [1, 2]
    queue = push(queue, torch.tensor([3.0, 4.0, 5.0]))
    assert queue.tolist() == [2, 3, 4, 5]
    assert push(queue, torch.arange(9.0)).tolist() == [5, 6, 7, 8]
    assert push(queue, torch.empty(0)).tolist() == [2, 3, 4, 5]


def test_queue_keeps_its_dtype():
    assert push(torch.zeros(2), torch.ones(1, dtype=torch.float64)).dtype == torch.float32


@given(st.integers(1, 7), st.lists(VALUES, max_size=5))
@settings(max_examples=40)
def test_queue_has_the_last_values_of_all_batches(size, batches):
    queue = torch.full((size,), math.nan)
    for batch in batches:
        queue = push(queue, torch.tensor(batch))
    everything = [math.nan] * size + [value for batch in batches for value in batch]
    assert repr(queue.tolist()) == repr(everything[-size:])
