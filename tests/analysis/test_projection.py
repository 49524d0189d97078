"""Tests of the projection of three classes."""

import math

import pytest
import torch
from analysis_reference import distance, mean
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq_lskd.analysis.projection import distances, plane, project, propose, spans_plane


@given(dim=st.integers(2, 9), seed=st.integers(0, 999))
@settings(max_examples=40)
def test_the_plane_contains_the_templates_and_keeps_distances(dim, seed):
    templates = torch.randn(3, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    basis = plane(templates)
    torch.testing.assert_close(basis.T @ basis, torch.eye(2, dtype=torch.float64), atol=1e-9, rtol=0)
    flat = project(templates, templates)
    assert flat[0].tolist() == pytest.approx([0, 0]) and flat[1, 1].item() == pytest.approx(0, abs=1e-9)
    for i in range(3):
        for j in range(3):
            wanted = distance(templates[i].tolist(), templates[j].tolist())
            assert distance(flat[i].tolist(), flat[j].tolist()) == pytest.approx(wanted, abs=1e-9)


def test_components_orthogonal_to_the_plane_are_dropped():
    """The templates are in the plane of the first two axes, and the point is above it."""
    templates = torch.tensor([[0.0, 0, 0], [2, 0, 0], [1, 3, 0]])
    assert project(torch.tensor([[5.0, -4, 7]]), templates)[0].tolist() == pytest.approx([5, -4])


@pytest.mark.parametrize("templates", [[[0.0, 0], [0, 0], [1, 1]], [[0.0, 0], [1, 1], [3, 3]]])
def test_templates_on_a_line_are_refused(templates):
    with pytest.raises(ValueError, match="one line"):
        plane(torch.tensor(templates))
    assert not spans_plane(torch.tensor(templates))


def test_one_dimension_has_no_plane():
    assert not spans_plane(torch.tensor([[0.0], [1], [3]])) and spans_plane(torch.tensor([[0.0, 0], [1, 0], [0, 1]]))


def test_distances_by_hand():
    """a: (0, 0), (2, 0): centre (1, 0), D1 = 1. b: (1, 3), (1, 5): centre (1, 4), D2 = 1. c: (13, 4): D3 = 0.
    Dc = 4, so Dc / (D1 + D2) = 2. From a to c sqrt(144 + 16), from b to c 12.
    """
    points = torch.tensor([[0.0, 0], [1, 3], [2, 0], [1, 5], [13, 4]])
    found = distances(points, torch.tensor([0, 1, 0, 1, 2]))
    assert found.spread == pytest.approx((1, 1, 0))
    assert found.similar == pytest.approx(4)
    assert found.dissimilar == pytest.approx((math.sqrt(160), 12))
    assert found.separation.value == pytest.approx(2)
    assert found.contrast == pytest.approx(8 / (math.sqrt(160) + 12))


@given(seed=st.integers(0, 999), scale=st.floats(0.01, 100))
@settings(max_examples=20)
def test_distances_match_their_definitions_and_separation_has_no_unit(seed, scale):
    random = torch.Generator().manual_seed(seed)
    points = torch.randn(30, 4, generator=random, dtype=torch.float64)
    member = torch.arange(30) % 3
    found, scaled = distances(points, member, draws=20), distances(scale * points, member, draws=20)
    parts = [points[member == i].tolist() for i in range(3)]
    centres = [mean(part) for part in parts]
    wanted = [sum(distance(p, c) for p in part) / len(part) for part, c in zip(parts, centres, strict=True)]
    assert found.spread == pytest.approx(wanted)
    assert found.similar == pytest.approx(distance(centres[0], centres[1]))
    assert scaled.separation.value == pytest.approx(found.separation.value)
    assert scaled.similar == pytest.approx(scale * found.similar)
    assert scaled.separation.low == pytest.approx(found.separation.low)


def test_a_class_without_points_is_refused():
    with pytest.raises(ValueError, match="needs a point"):
        distances(torch.zeros(2, 2), torch.tensor([0, 1]))


def test_proposed_classes_are_the_most_confused_pair_and_the_least_similar_class():
    similarity = torch.tensor([[0, 0.1, 0.2, 0.9], [0.1, 0, 0.8, 0.3], [0.2, 0.8, 0, 0.4], [0.9, 0.3, 0.4, 0]])
    assert propose(similarity, torch.tensor([True] * 4)) == (0, 3, 1)
    assert propose(similarity, torch.tensor([True, True, True, False])) == (1, 2, 0)
    with pytest.raises(ValueError, match="fewer than three"):
        propose(similarity, torch.tensor([True, True, False, False]))
