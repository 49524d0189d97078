"""Tests of mutual information and diffusion."""

import math

import pytest
import torch
from analysis_reference import distance
from analysis_reference import mutual_information as naive
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq_lskd.analysis.classes import Pairs
from fairseq_lskd.analysis.diffusion import diffusion, normalised_distances
from fairseq_lskd.analysis.information import mutual_information, mutual_information_draws


@given(examples=st.integers(2, 8), draws=st.integers(2, 5), spread=st.floats(0, 3), seed=st.integers(0, 999))
@settings(max_examples=40)
def test_against_the_formula(examples, draws, spread, seed):
    random = torch.Generator().manual_seed(seed)
    values = spread * torch.randn(examples, 1, generator=random) + torch.randn(examples, draws, generator=random)
    assert mutual_information(values) == pytest.approx(naive(values.double().tolist()), abs=1e-9)


def test_from_zero_to_the_maximum():
    noise = torch.randn(200, 50, dtype=torch.float64)
    assert mutual_information(noise) == pytest.approx(0, abs=0.03)
    apart = 1000 * torch.arange(200.0)[:, None]
    assert mutual_information(apart + noise) == pytest.approx(math.log(200))
    two = mutual_information(1000.0 * (torch.arange(200) % 2)[:, None] + noise)
    assert two == pytest.approx(math.log(2), abs=0.03)


def test_scale_does_not_matter():
    values = torch.randn(20, 1) + torch.randn(20, 6)
    assert mutual_information(7 * values + 3) == pytest.approx(mutual_information(values), rel=1e-4)


def test_no_noise_or_too_few_draws_are_refused():
    with pytest.raises(ValueError, match="no noise"):
        mutual_information(torch.ones(3, 3))
    with pytest.raises(ValueError, match="two examples and two draws"):
        mutual_information(torch.ones(3, 1))


def test_draws_are_of_half_of_the_examples():
    values = 1000 * torch.arange(40.0)[:, None] + torch.randn(40, 6)
    assert mutual_information_draws(values, 5).tolist() == pytest.approx([math.log(20)] * 5)


class TestDiffusion:
    def test_distances_are_in_units_of_their_mean(self):
        centres = torch.randn(5, 3)
        found = normalised_distances(7 * centres)
        pairs = [distance(centres[i].tolist(), centres[j].tolist()) for i in range(5) for j in range(5) if i != j]
        assert found[1, 3].item() == pytest.approx(distance(centres[1].tolist(), centres[3].tolist()) * 20 / sum(pairs))
        with pytest.raises(ValueError, match="one centre"):
            normalised_distances(torch.ones(3, 2))

    def test_diffusion_on_a_line_by_hand(self):
        """On a line at 0, 1, 10: distances 1, 9, 10, mean 20/3. Then at 0, 0.5, 10: 0.5, 9.5, 10, mean 20/3 too.
        Similar pairs (0, 1), (1, 0), (2, 1): 1 - 0.5, 1 - 0.5, 1 - 9.5 / 9. Dissimilar (0, 2), (1, 2), (2, 0): 0,
        1 - 9.5 / 9, 0.
        """
        low, high = torch.tensor([[0.0], [1], [10]]), torch.tensor([[0.0], [0.5], [10]])
        found = diffusion(low, high, Pairs(torch.tensor([1, 0, 1]), torch.tensor([2, 2, 0])))
        assert found.similar.value == pytest.approx((0.5 + 0.5 + 1 - 9.5 / 9) / 3)
        assert found.dissimilar.value == pytest.approx((1 - 9.5 / 9) / 3)
        assert found.difference.value == pytest.approx(1 / 3)

    def test_a_scaled_model_has_no_diffusion(self):
        low = torch.randn(8, 4)
        high = torch.cat([3 * low, torch.zeros(8, 2)], 1)
        pairs = Pairs((torch.arange(8) + 1) % 8, (torch.arange(8) + 4) % 8)
        found = diffusion(low, high, pairs)
        for measured in (found.similar, found.dissimilar, found.difference):
            assert measured.value == pytest.approx(0, abs=1e-6)
