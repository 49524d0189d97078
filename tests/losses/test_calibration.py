"""Accuracy, entropy and expected calibration error, from sums that add up."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import predictions

from fairseq_lskd.losses import BINS, prediction_sums


def error(sums):
    return (sums.gaps.abs().sum() / sums.tokens).item()


def make(tokens, classes, seed, scale=3.0):
    random = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(tokens, classes, generator=random, dtype=torch.float64)
    return logits, torch.randint(0, classes, (tokens,), generator=random), torch.rand(tokens, generator=random) < 0.3


@given(tokens=st.integers(2, 60), classes=st.sampled_from([2, 3, 7]), seed=st.integers(0, 9999), scale=st.floats(0, 9))
@settings(max_examples=60)
def test_equal_to_the_definitions(tokens, classes, seed, scale):
    logits, target, ignore = make(tokens, classes, seed, scale)
    ignore[0] = False
    found = prediction_sums(logits.log_softmax(-1), target, ignore)
    wanted = predictions(logits, target, ~ignore)
    assert (found.tokens.item(), found.correct.item()) == (wanted.tokens, wanted.correct)
    assert found.entropy.item() == pytest.approx(wanted.entropy, abs=1e-12)
    assert error(found) == pytest.approx(wanted.ece, abs=1e-12)


def test_error_accuracy_and_entropy_by_hand():
    """Confidence 0.9 and correct, 0.9 and wrong, 0.6 and correct; the fourth token is padding.

    Both 0.9 are in bin (13/15, 14/15]: |0.9 - 0.5| * 2/3; 0.6 is at the edge of (8/15, 9/15]: |0.6 - 1| * 1/3.
    In all 1.2 / 3 = 0.4. Accuracy 2/3.
    """
    p = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.5, 0.5]], dtype=torch.float64)
    found = prediction_sums(p.log(), torch.tensor([0, 1, 1, 0]), torch.tensor([False, False, False, True]))
    assert (found.tokens.item(), found.correct.item()) == (3, 2)
    assert error(found) == pytest.approx(0.4)
    bits = [-(a * math.log(a) + (1 - a) * math.log(1 - a)) for a in (0.9, 0.9, 0.6)]
    assert found.entropy.item() == pytest.approx(sum(bits))


@pytest.mark.parametrize("edge", range(8, BINS + 1))
def test_an_upper_edge_belongs_to_its_bin(edge):
    """Bins are (lower, upper]: b / 15 and just below it are in bin b, just above it in bin b + 1."""
    for shift, wanted in ((-1e-9, edge - 1), (0, edge - 1), (1e-9, min(edge, BINS - 1))):
        p = min(edge / BINS + shift, 1.0)
        log_probs = torch.tensor([[p, 1 - p]], dtype=torch.float64).log()
        found = prediction_sums(log_probs, torch.tensor([1]), torch.tensor([False]))
        assert found.gaps.nonzero().flatten().tolist() == [wanted]
        assert found.gaps[wanted].item() == pytest.approx(p)


@pytest.mark.parametrize("label", [0, 1])
def test_certainty_has_entropy_0_and_stays_finite(label):
    log_probs = torch.tensor([[0.0, -math.inf, -math.inf]])
    found = prediction_sums(log_probs, torch.tensor([label]), torch.tensor([False]))
    assert found.entropy.item() == 0 and found.correct.item() == (label == 0)
    assert error(found) == (label != 0) and found.gaps.isfinite().all()


def test_the_lowest_possible_confidence():
    """1/K for K = 40 is in the first bin."""
    found = prediction_sums(torch.full((1, 40), -math.log(40)), torch.tensor([39]), torch.tensor([False]))
    assert found.gaps[0].item() == pytest.approx(1 / 40) and not found.gaps[1:].any()
    assert found.entropy.item() == pytest.approx(math.log(40))


def test_gaps_of_either_sign_cancel_within_a_bin_only():
    """0.7 and correct (-0.3), 0.71 and wrong (+0.71) are in the same bin: |0.41| / 2."""
    p = torch.tensor([[0.7, 0.3], [0.71, 0.29]], dtype=torch.float64)
    found = prediction_sums(p.log(), torch.tensor([0, 1]), torch.tensor([False, False]))
    assert error(found) == pytest.approx(0.41 / 2)


@given(split=st.integers(1, 39), seed=st.integers(0, 999))
@settings(max_examples=25)
def test_sums_add_up_over_splits(split, seed):
    logits, target, ignore = make(40, 5, seed)
    args = logits.log_softmax(-1), target, ignore
    whole = prediction_sums(*args)
    parts = [prediction_sums(*(x[s] for x in args)) for s in (slice(split), slice(split, None))]
    for one, two, both in zip(*parts, whole, strict=True):
        torch.testing.assert_close(one + two, both)


def test_everything_masked():
    found = prediction_sums(torch.randn(3, 4).log_softmax(-1), torch.zeros(3).long(), torch.ones(3).bool())
    assert found.tokens.item() == found.correct.item() == found.entropy.item() == 0 and not found.gaps.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype):
    found = prediction_sums(
        torch.randn(3, 4, dtype=dtype).log_softmax(-1), torch.zeros(3).long(), torch.zeros(3).bool()
    )
    assert found.gaps.dtype == found.entropy.dtype == dtype
