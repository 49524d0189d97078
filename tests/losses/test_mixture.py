"""The weighted mean of several teachers' distributions."""

import math

import pytest
import torch
import torch.nn.functional as F

from fairseq_lskd.losses import MEAN, Mixture, Objective, Projection, fused_loss, mix_log_probs, teacher_loss, temper

#: p = (1/2, 1/4, 1/4), with an entropy of 1.5 log 2; q = (1, 0, 0), with none.
P, Q = [0.5, 0.25, 0.25], [1.0, 0.0, 0.0]


def mixed(mixture, *rows):
    return mixture.mix(torch.tensor([row], dtype=torch.float64).log() for row in rows).exp()[0].tolist()


def test_small_examples():
    assert mixed(MEAN, P, Q) == pytest.approx([3 / 4, 1 / 8, 1 / 8])
    assert mixed(Mixture((3.0, 1.0)), P, Q) == pytest.approx([5 / 8, 3 / 16, 3 / 16])
    sure = 1 / (1 + 2**-1.5)  # the weights are 2^-1.5 and 1
    assert mixed(Mixture(by_entropy=True), P, Q) == pytest.approx(
        [sure + (1 - sure) / 2, (1 - sure) / 4, (1 - sure) / 4]
    )
    both = 1 / (1 + 3 * 2**-1.5)
    assert mixed(Mixture((3.0, 1.0), by_entropy=True), P, Q) == pytest.approx(
        [both + (1 - both) / 2, (1 - both) / 4, (1 - both) / 4]
    )


def test_only_proportions_count_and_equal_ones_are_the_mean():
    parts = torch.randn(3, 4, 7, dtype=torch.float64).log_softmax(-1)
    mean = mix_log_probs(parts)
    assert torch.equal(MEAN.mix(parts), mean)
    torch.testing.assert_close(Mixture((2.0, 2.0, 2.0)).mix(parts), mean)
    torch.testing.assert_close(Mixture((1.0, 2.0, 3.0)).mix(parts), Mixture((0.5, 1.0, 1.5)).mix(parts))
    torch.testing.assert_close(Mixture(by_entropy=True).mix(parts[:1]), parts[0])


def test_members_with_equal_entropy_have_equal_weights():
    part = torch.randn(4, 7, dtype=torch.float64).log_softmax(-1)
    parts = [part, part.flip(-1)]
    torch.testing.assert_close(Mixture(by_entropy=True).mix(parts), mix_log_probs(parts))


@pytest.mark.parametrize("mixture", [MEAN, Mixture((0.5,)), Mixture(by_entropy=True)])
def test_the_mean_of_nothing(mixture):
    with pytest.raises(ValueError, match="no distribution"):
        mixture.mix([])


@pytest.mark.parametrize("temperature", [1.0, 3.0, 32.0])
@pytest.mark.parametrize("mixture", [Mixture((1.0, 2.0, 3.0)), Mixture(by_entropy=True)])
def test_the_fused_loss_is_that_of_the_mixture(mixture, temperature):
    """With weights by entropy at the temperature, computed from their definition at each token."""
    student = Projection(*(torch.randn(n, 4, dtype=torch.float64).requires_grad_() for n in (5, 9)))
    members = [Projection(torch.randn(5, w).double(), torch.randn(9, w).double()) for w in (3, 4, 6)]
    objective = Objective(temperature=temperature, mixture=mixture)
    found = fused_loss(
        student,
        torch.zeros(5, dtype=torch.long),
        torch.zeros(5, dtype=torch.float64),
        teacher=members,
        objective=objective,
        chunk=2,
    )
    each = [F.linear(m.hidden, m.weight).div(temperature).softmax(-1) for m in members]
    weights = [torch.full((5, 1), weight) for weight in mixture.weights or (1.0, 1.0, 1.0)]
    if mixture.by_entropy:
        perplexities = [(-(p * p.log()).sum(-1, keepdim=True)).exp() for p in each]
        weights = [weight / perplexity for weight, perplexity in zip(weights, perplexities, strict=True)]
    whole = sum(weight * p for weight, p in zip(weights, each, strict=True)) / sum(weights)
    scores = F.linear(*student[:2]).log_softmax(-1)
    wanted = teacher_loss(scores, whole.log(), torch.zeros(5, dtype=torch.bool), objective)
    torch.testing.assert_close(found.teacher, wanted.detach(), rtol=1e-9, atol=1e-9 * temperature**2)
    gradients = (torch.autograd.grad(loss, student[:2]) for loss in (found.loss, wanted.sum()))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9)
    assert math.isfinite(temper(scores, temperature).sum().item())


@pytest.mark.parametrize("weights", [None, (3.0, 1.0, 0.5)])
@pytest.mark.parametrize("by_entropy", [False, True])
def test_missing_members_have_no_weight(weights, by_entropy):
    """Against plain numbers, token by token, with every set of missing members."""
    given = torch.randn(3, 8, 5, dtype=torch.float64).softmax(-1)
    given[:, :, 2] = 0  # a class of which all are sure
    given /= given.sum(-1, keepdim=True)
    there = [[token >> member & 1 for token in range(8)] for member in range(3)]
    given *= torch.tensor(there).unsqueeze(-1)
    found = Mixture(weights, by_entropy).mix_known(list(given))
    for token in range(8):
        total, wanted = 0.0, [0.0] * 5
        for member in range(3):
            row = given[member, token].tolist()
            if not any(row):
                continue
            weight = 1.0 if weights is None else weights[member]
            if by_entropy:
                weight *= math.exp(sum(p * math.log(p) for p in row if p))
            total += weight
            wanted = [w + weight * p for w, p in zip(wanted, row, strict=True)]
        assert found[token].tolist() == pytest.approx([w / total for w in wanted] if total else wanted, rel=1e-12)


def test_one_member_is_its_own_mean_and_nan_is_not_missing():
    part = torch.randn(4, 7).softmax(-1)
    assert Mixture((0.3,), by_entropy=True).mix_known([part]) is part
    broken = part.clone()
    broken[1, 2] = torch.nan
    for mixture in (MEAN, Mixture(by_entropy=True)):
        found = mixture.mix_known([part, broken])
        assert found[1].isnan().any() and not found[[0, 2, 3]].isnan().any()
