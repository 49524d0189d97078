"""Tests of calibration and quality."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq_lskd.analysis.bootstrap import resamples
from fairseq_lskd.analysis.calibration import adaptive_bins, quality, reliability
from fairseq_lskd.analysis.measurement import Tokens


def rows_of(confidence, correct, unit=None):
    size = len(confidence)
    unit = torch.arange(size) if unit is None else unit
    zeros = torch.zeros(size)
    return Tokens(unit, zeros.long(), torch.rand(size), confidence, correct, torch.rand(size))


def test_the_error_of_two_bins_by_hand():
    """Bins (0.5, 0.6), one correct: |0.5 - 0.55|; and (0.8, 1.0), both correct: |1 - 0.9|. The mean is 0.075."""
    found = reliability(torch.tensor([1.0, 0.5, 0.8, 0.6]), torch.tensor([True, False, True, True]), bins=2)
    assert found.count.tolist() == [2, 2]
    assert found.confidence.tolist() == pytest.approx([0.55, 0.9])
    assert found.accuracy.tolist() == [0.5, 1.0]
    assert found.error == pytest.approx(0.075)


@given(values=st.lists(st.integers(0, 8), min_size=1, max_size=60), bins=st.integers(1, 15), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_bins_are_ordered_keep_ties_together_and_ignore_the_order_of_examples(values, bins, seed):
    confidence = torch.tensor(values) / 8
    place = adaptive_bins(confidence, bins)
    assert place.min() >= 0 and place.max() < bins
    for value in set(values):
        assert len(set(place[confidence == value / 8].tolist())) == 1
    ordered = place[confidence.argsort(stable=True)]
    assert torch.equal(ordered, ordered.sort().values)
    shuffled = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(adaptive_bins(confidence[shuffled], bins), place[shuffled])


def test_bins_of_distinct_confidences_have_equal_sizes():
    counts = torch.bincount(adaptive_bins(torch.rand(1507, dtype=torch.float64), 15))
    assert len(counts) == 15 and counts.max() - counts.min() <= 1


def test_the_error_of_calibrated_and_overconfident_models():
    confidence = torch.rand(60_000)
    correct = torch.rand(60_000) < confidence
    assert reliability(confidence, correct).error < 0.01
    assert reliability((confidence + 0.1), correct).error == pytest.approx(0.1, abs=0.01)


def test_means_and_their_replicates_are_over_sentences():
    size, unit = 50, torch.arange(50) // 7
    rows = rows_of(torch.rand(size), torch.rand(size) < 0.5, unit)
    found = quality(rows, bins=4, draws=30, seed=2)
    assert found.values["nll"] == pytest.approx(rows.nll.double().mean().item())
    assert found.values["accuracy"] == pytest.approx(rows.correct.double().mean().item())
    assert found.values["ece"] == pytest.approx(reliability(rows.confidence, rows.correct, 4).error)
    place = adaptive_bins(rows.confidence, 4)
    for draw, weights in enumerate(torch.cat(list(resamples(8, 30, 2)))):
        each = weights[unit]
        assert found.replicates["nll"][draw].item() == pytest.approx(float((each * rows.nll).sum() / each.sum()))
        gaps = [float((each * (rows.confidence - rows.correct.float()))[place == b].sum()) for b in range(4)]
        wanted = math.fsum(map(abs, gaps)) / float(each.sum())
        assert found.replicates["ece"][draw].item() == pytest.approx(wanted, abs=1e-6)


def test_one_sentence_has_means_and_no_replicates():
    found = quality(rows_of(torch.rand(5), torch.rand(5) < 0.5, torch.zeros(5, dtype=torch.int64)), draws=10)
    assert all(math.isfinite(value) for value in found.values.values())
    assert all(drawn.isnan().all() for drawn in found.replicates.values())
