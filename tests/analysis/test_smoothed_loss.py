"""Tests of the smoothed loss by logit."""

from __future__ import annotations

import math

import pytest
import torch

from fairseq_lskd.analysis.smoothed_loss import minimum, section, smoothed_loss
from fairseq_lskd.errors import UserError


def test_two_classes_are_the_logistic_loss() -> None:
    z = torch.tensor([-3.0, 0.0, 0.7, 5.0], dtype=torch.float64)
    p = torch.sigmoid(z)
    wanted = -(0.9 * p.log() + 0.1 * (1 - p).log())
    torch.testing.assert_close(smoothed_loss(z, 0.1), wanted)
    # By hand: with probabilities of 1/2 the loss is ln 2 for every alpha.
    torch.testing.assert_close(smoothed_loss(torch.zeros(1), 0.3), torch.tensor([math.log(2)]))


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.4])
def test_the_minimum_is_where_the_derivative_is_0(alpha: float, classes: int) -> None:
    found = minimum(alpha, classes)
    z = torch.tensor(found.logit, dtype=torch.float64, requires_grad=True)
    loss = smoothed_loss(z, alpha, classes)
    (slope,) = torch.autograd.grad(loss, z, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, z)
    assert abs(slope.item()) < 1e-12 and curvature > 0
    assert math.isclose(loss.item(), found.loss, rel_tol=1e-12)
    probability = math.exp(found.logit) / (math.exp(found.logit) + classes - 1)
    assert math.isclose(probability, found.probability, rel_tol=1e-12)


def test_minima_by_hand() -> None:
    found = minimum(0.1)
    assert math.isclose(found.logit, math.log(9)) and math.isclose(found.loss, 0.3250829733914482)
    assert minimum(0.0).logit == math.inf and minimum(0.0).loss == 0


def test_the_table_has_all_plotted_points() -> None:
    found = section([0.0, 0.1], classes=3)
    minima, points = found.tables
    assert minima.rows[0] == (0.0, None, 1.0, 0.0)
    assert minima.rows[1][1] == pytest.approx(math.log(18))
    (axes,) = found.pictures[0].figure.axes
    drawn = sum(len(line.get_xdata()) for line in axes.lines)
    assert drawn == len(points.rows) + 1  # and the dot of the minimum
    assert found.pictures[0].table == points.name
    alpha, z, loss = points.rows[-1]
    assert loss == pytest.approx(smoothed_loss(torch.tensor(z).double(), alpha, 3).item(), abs=1e-4)


def test_invalid_smoothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"label smoothing 1.0, -0.1: expected numbers in \[0, 1\)"):
        section([1.0, 0.1, -0.1])
    with pytest.raises(UserError, match="of 1 classes: expected at least 2"):
        section(classes=1)
