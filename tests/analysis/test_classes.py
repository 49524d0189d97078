"""Tests of mean class distributions: peaks, rivals, rank correlations and pairs."""

import math

import pytest
import torch
from analysis_reference import average_rank, by_class, distance, mean, spearman
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq_lskd.analysis.classes import (
    confusion,
    cosines,
    pair_up,
    profiles,
    rank_correlations,
    ranks,
    relation,
    separation,
)
from fairseq_lskd.analysis.sums import ClassSums


def sums_of(probs, target, types):
    sums = ClassSums(torch.tensor(types), probs.size(1))
    sums.update(probs, target)
    return sums


@pytest.mark.parametrize("rows", [1, 2, 256])
def test_profiles_match_their_definitions(rows):
    probs = (2 * torch.randn(60, 7, dtype=torch.float64)).softmax(-1)
    target = torch.randint(0, 7, (60,))
    types = [3, 0, 6]
    found = profiles(sums_of(probs, target, types), rows)
    for i, kind in enumerate(types):
        centre = mean(by_class(probs, target, 1)[kind])
        others = {other: p for other, p in enumerate(centre) if other != kind}
        assert found.peak[i].item() == pytest.approx(centre[kind])
        assert found.entropy[i].item() == pytest.approx(-sum(p * math.log(p) for p in centre))
        assert found.rival[i].item() == max(others, key=others.__getitem__)
        assert found.rival_share[i].item() == pytest.approx(max(others.values()))


def test_relation_is_the_means_at_the_types():
    probs, target = torch.rand(30, 5).softmax(-1), torch.arange(30) % 5
    sums = sums_of(probs, target, [4, 1])
    assert torch.equal(relation(sums), sums.means()[:, [4, 1]])


@given(values=st.lists(st.integers(0, 5), min_size=1, max_size=12))
@settings(max_examples=50)
def test_ranks_share_ties(values):
    found = ranks(torch.tensor(values))
    assert found.tolist() == [average_rank(values, i) for i in range(len(values))]


@given(size=st.integers(3, 8), seed=st.integers(0, 999), levels=st.sampled_from([2, 4, 1000]))
@settings(max_examples=40)
def test_rank_correlation_of_the_off_diagonal(size, seed, levels):
    random = torch.Generator().manual_seed(seed)
    a, b = (torch.randint(0, levels, (size, size), generator=random).double() for _ in range(2))
    for i, found in enumerate(rank_correlations(a, b).tolist()):
        x, y = ([v for j, v in enumerate(m[i].tolist()) if j != i] for m in (a, b))
        if len(set(x)) > 1 and len(set(y)) > 1:
            assert found == pytest.approx(spearman(x, y), abs=1e-12)
        else:
            assert math.isnan(found)


def test_rank_correlation_ignores_the_diagonal_and_scale():
    a = torch.rand(6, 6)
    b = (5 * a).exp()
    b.fill_diagonal_(-1)
    assert rank_correlations(a, b).tolist() == pytest.approx([1.0] * 6)
    assert rank_correlations(a, -a).tolist() == pytest.approx([-1.0] * 6)


def test_similarity_by_hand():
    """Confusions of classes 0 and 1 are 0.3 and 0.1 in one model, 0.5 and 0.3 in the other: 1.2 / 4."""
    one, two = torch.tensor([[0.7, 0.3], [0.1, 0.9]]), torch.tensor([[0.5, 0.5], [0.3, 0.7]])
    assert confusion([one, two])[0, 1].item() == confusion([one, two])[1, 0].item() == pytest.approx(0.3)
    assert confusion([one])[0, 0] == 0
    weight = torch.tensor([[3.0, 0], [0, 2], [5, 5]])
    assert cosines([weight])[0].tolist() == pytest.approx([0, 0, 1 / math.sqrt(2)])


def test_pairs_are_the_most_similar_and_one_of_the_less_similar_half():
    similarity = torch.rand(9, 9)
    similarity = similarity + similarity.T
    found = pair_up(similarity)
    for i in range(9):
        others = sorted((similarity[i, j].item(), j) for j in range(9) if j != i)
        assert found.similar[i] == others[-1][1]
        assert found.dissimilar[i].item() in [j for _, j in others[:4]]


def test_separation_is_centres_over_spreads():
    centres, spreads = torch.tensor([[0.0, 0], [3, 4], [0, 1]]), torch.tensor([1.0, 1.5, 0.5])
    found = separation(centres, spreads, torch.tensor([1, 0, 0]))
    assert found.tolist() == pytest.approx([5 / 2.5, 5 / 2.5, 1 / 1.5])
    assert distance([0, 0], [3, 4]) == 5
