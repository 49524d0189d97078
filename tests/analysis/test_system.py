"""Tests of the clouds of a model, and of the order of systems."""

from __future__ import annotations

import torch

from fairseq_lskd.analysis.measurement import Measurement, Plan
from fairseq_lskd.analysis.system import POINTS, Seen, System, least_smoothed_first, pictured, unlike


def system(name: str, smoothing: float | None = None) -> System:
    return System(name, Measurement(Plan(5, torch.arange(5), torch.arange(0), 5, 1)), smoothing)


def test_clouds_have_the_first_points_of_each_class_in_the_given_order() -> None:
    output = torch.tensor([[0.0, 0], [1, 0], [0, 1], [5, 5], [7, 1]])
    target = torch.tensor([4, 0, 1, 4, 2, 3]).repeat(POINTS)
    hidden = torch.arange(len(target)).double()[:, None] * torch.ones(2).double()
    found = pictured(system("a"), output, (4, 2, 0), [Seen("valid", hidden, target)])
    (cloud,) = found.clouds
    assert cloud.split == "valid" and torch.equal(found.templates, output[[4, 2, 0]])
    assert cloud.member.bincount().tolist() == [POINTS] * 3  # at most POINTS, although a class has more
    assert cloud.points[:3, 0].tolist() == [0, 3, 6]
    assert target[cloud.points[:, 0].long()].unique_consecutive().tolist() == [4, 2, 0]


def test_a_split_without_one_of_the_classes_has_no_cloud() -> None:
    output, hidden = torch.randn(5, 2), torch.randn(3, 2)
    seen = [Seen("train", hidden, torch.tensor([0, 1, 1])), Seen("valid", hidden, torch.tensor([0, 1, 2]))]
    assert [cloud.split for cloud in pictured(system("a"), output, (0, 1, 2), seen).clouds] == ["valid"]


def test_the_least_smoothed_is_first_and_the_unknown_last() -> None:
    given = [system("x"), system("b", 0.1), system("a", 0.0)]
    assert [each.name for each in least_smoothed_first(given)] == ["a", "b", "x"]


def test_where_trainings_differ() -> None:
    one = {"parameters": "1,000", "updates at most": "60", "method": "none"}
    assert unlike(one, one) == unlike(one, {}) == unlike({}, one) == ""
    assert unlike(one, {"parameters": "2,000", "method": "none"}) == "parameters (1,000 and 2,000)"
    other = {"updates at most": "30", "parameters": "2,000"}
    assert unlike(one, other) == "parameters (1,000 and 2,000), updates at most (60 and 30)"
