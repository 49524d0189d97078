"""A sampled teacher, a head and draws from the tail: unbiased, and the same in both forms of the loss."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from reference import forward_kl as reference_kl
from reference import log_softmax, log_sum

from fairseq_lskd.losses import DIVERGENCES, Objective, Projection, Sampled, divergence, draw, fused_loss, teacher_loss
from fairseq_lskd.losses.sampled import choose_head, dense, gradient_error, label_variance, tail_variance

CLASSES, TOKENS = 9, 6


def log_probs(*shape, scale=2.0):
    return (scale * torch.randn(*shape, dtype=torch.float64)).log_softmax(-1)


def chance(tokens, copies=1):
    return torch.rand(tokens, copies, dtype=torch.float64)


def estimates(teacher, k, m, count):
    return [dense(draw(teacher, k, m, chance(len(teacher))).copy(0), teacher.size(-1)) for _ in range(count)]


def test_literal():
    """p = (0.1, 0.5, 0.1, 0.2, 0.1), a head of one class: the tail's cumulative sums are 0.1, 0.2, 0.4, 0.5.

    The random number 0.5 gives two points at a quarter and three quarters of 0.5: 0.125 and 0.375.
    """
    p = torch.tensor([[0.1, 0.5, 0.1, 0.2, 0.1]], dtype=torch.float64)
    found = draw(p.log(), 1, 2, torch.tensor([[0.5]], dtype=torch.float64))
    assert found.ids.tolist() == [[1]] and found.drawn.tolist() == [[[2, 3]]]
    assert found.rest.exp().item() == pytest.approx(0.5)
    assert found.entropy.item() == pytest.approx(-3 * 0.1 * math.log(0.1) - 0.2 * math.log(0.2))
    known = found.copy(0)
    assert known.ids.tolist() == [[1, 2, 3]] and known.probs.tolist() == [pytest.approx([0.5, 0.25, 0.25])]
    assert known.negentropy.item() == pytest.approx((p * p.log()).sum().item())
    assert dense(known, 5).tolist() == [pytest.approx([0, 0.5, 0.25, 0.25, 0])]


@pytest.mark.parametrize(("k", "m"), [(1, 1), (1, 4), (3, 2), (8, 1)])
def test_the_mean_of_many_draws_is_the_whole_distribution(k, m):
    """Within five standard errors for each class; the head is exact."""
    teacher, count = log_probs(TOKENS, CLASSES, scale=1.0), 4000
    found = torch.stack(estimates(teacher, k, m, count))
    whole, mean = teacher.exp(), found.mean(0)
    # The standard error of independent draws is an upper bound.
    rest = 1 - whole.topk(k).values.sum(-1, keepdim=True)
    error = (rest * whole / m / count).sqrt()
    assert ((mean - whole).abs() <= 5 * error + 1e-12).all()
    torch.testing.assert_close(found.sum(-1), torch.ones(count, TOKENS, dtype=torch.float64))
    best = teacher.topk(k).indices
    torch.testing.assert_close(found[0].gather(-1, best), whole.gather(-1, best))


def test_the_draws_of_a_class_differ_from_its_share_by_less_than_1():
    teacher = log_probs(50, CLASSES)
    found = draw(teacher, 2, 5, chance(50))
    times = F.one_hot(found.drawn[:, 0], CLASSES).sum(1)
    share = 5 * teacher.exp().scatter(-1, found.ids, 0.0) / found.rest.exp().unsqueeze(-1)
    assert ((times - share).abs() < 1).all()


@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_mean_gradient_and_loss_are_those_of_the_whole_teacher(form, temperature):
    """Forward KL: the mean over many draws is within five standard errors."""
    hidden, matrix = torch.randn(TOKENS, 4, dtype=torch.float64), torch.randn(CLASSES, 4, dtype=torch.float64)
    teacher, objective = log_probs(TOKENS, CLASSES), Objective(temperature=temperature)
    label = torch.zeros(TOKENS, dtype=torch.long)

    def gradient(known):
        states = hidden.clone().requires_grad_()
        if form == "plain":
            scores = F.linear(states, matrix).log_softmax(-1)
            loss = teacher_loss(scores, known, torch.zeros(TOKENS, dtype=torch.bool), objective).sum()
        else:
            none = torch.zeros(TOKENS, dtype=torch.float64)
            loss = fused_loss(Projection(states, matrix), label, none, teacher=known, objective=objective).loss
        loss.backward()
        return torch.cat([loss.detach().view(1), states.grad.flatten()])

    # If all classes but one are in the head, the other is always drawn: this is the whole distribution.
    certain = draw(teacher, CLASSES - 1, 1, chance(TOKENS)).copy(0)
    whole = gradient(teacher if form == "plain" else certain)
    found = torch.stack([gradient(draw(teacher, 2, 3, chance(TOKENS)).copy(0)) for _ in range(1500)])
    error = found.std(0) / math.sqrt(len(found))
    assert ((found.mean(0) - whole).abs() <= 5 * error + 1e-12).all()
    assert (error[1:] > 0).all()


def test_a_head_of_all_classes_but_one_gives_the_whole_loss():
    teacher, student = log_probs(TOKENS, CLASSES), log_probs(TOKENS, CLASSES)
    known = draw(teacher, CLASSES - 1, 1, chance(TOKENS)).copy(0)
    ignore = torch.zeros(TOKENS, dtype=torch.bool)
    torch.testing.assert_close(
        teacher_loss(student, known, ignore, Objective()), teacher_loss(student, teacher, ignore, Objective())
    )


@pytest.mark.parametrize(
    ("temperature", "alpha", "chunk", "weights"),
    [*itertools.product((1.0, 3.0, 32.0), (0.0, 0.1), (2, None), (False, True))],
)
def test_fused_is_plain_and_the_formula(temperature, alpha, chunk, weights):
    """For one set of draws, at each token, with one token without a teacher."""
    student = Projection(*(torch.randn(n, 4, dtype=torch.float64).requires_grad_() for n in (TOKENS, CLASSES)))
    known = draw(log_probs(TOKENS, CLASSES), 2, 5, chance(TOKENS)).copy(0)
    known.negentropy[3] = math.nan
    known.probs[3], known.ids[3] = math.nan, 0
    target = torch.randint(CLASSES, (TOKENS,))
    of_labels, of_teacher = torch.rand(2, TOKENS, dtype=torch.float64)
    of_teacher[1] = 0
    objective = Objective(temperature=temperature)
    found = fused_loss(
        student,
        target,
        of_labels,
        label_smoothing=alpha,
        teacher=known,
        teacher_weight=of_teacher if weights else None,
        objective=objective,
        chunk=chunk,
    )
    scores = F.linear(*student[:2]).log_softmax(-1)
    part = teacher_loss(scores, known, torch.zeros(TOKENS, dtype=torch.bool), objective)
    if weights:
        part = torch.where(of_teacher > 0, part, 0.0)
    smooth = torch.full_like(scores, alpha / (CLASSES - 1)).scatter(-1, target.unsqueeze(1), 1 - alpha)
    labels = -(smooth * scores).sum(-1)
    whole = (of_labels * labels).sum() + (part * (of_teacher if weights else 1)).sum()
    assert found.loss.item() == pytest.approx(whole.item(), rel=1e-10)
    torch.testing.assert_close(found.teacher, part.detach(), rtol=1e-9, atol=1e-10)
    for mine, theirs in zip(
        torch.autograd.grad(3.7 * found.loss, student[:2]), torch.autograd.grad(3.7 * whole, student[:2]), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-9)
    for n, row in enumerate(F.linear(*student[:2]).tolist()):
        if n == 3 or (weights and n == 1):
            assert found.teacher[n] == 0
            continue
        log_q = log_softmax(row, temperature)
        each = zip(known.ids[n].tolist(), known.probs[n].tolist(), strict=True)
        wanted = temperature**2 * (known.negentropy[n].item() - math.fsum(w * log_q[i] for i, w in each))
        assert found.teacher[n].item() == pytest.approx(wanted, rel=1e-9)


def test_the_loss_is_the_forward_kl_on_average():
    theirs, ours = torch.randn(1, CLASSES).double(), torch.randn(1, CLASSES).double()
    teacher, student = theirs.log_softmax(-1), ours.log_softmax(-1)
    ignore = torch.tensor([False])
    found = torch.stack(
        [teacher_loss(student, draw(teacher, 1, 2, chance(1)).copy(0), ignore, Objective()) for _ in range(4000)]
    )
    wanted = reference_kl(log_softmax(theirs[0].tolist()), log_softmax(ours[0].tolist()))
    assert abs(found.mean().item() - wanted) <= 5 * found.std().item() / math.sqrt(4000)


def test_copies_are_independent():
    teacher = log_probs(TOKENS, CLASSES)
    numbers = chance(TOKENS, 3)
    found = draw(teacher, 2, 4, numbers)
    assert found.drawn.shape == (TOKENS, 3, 4)
    for copy in range(3):
        alone = draw(teacher, 2, 4, numbers[:, copy : copy + 1])
        assert torch.equal(found.drawn[:, copy], alone.drawn[:, 0])
        assert torch.equal(found.copy(copy).ids, alone.copy(0).ids)


def test_a_tail_without_mass():
    """All probability is in the head: draws have weight 0, also for a class without student probability."""
    teacher = torch.tensor([[0.5, 0.5, 0.0, 0.0]], dtype=torch.float64).log()
    known = draw(teacher, 2, 3, torch.tensor([[0.9]], dtype=torch.float64)).copy(0)
    assert dense(known, 4).tolist() == [[0.5, 0.5, 0, 0]]
    student = torch.tensor([[-math.inf, 0.3, 0.1, 0.2]], dtype=torch.float64).log_softmax(-1)[:, [1, 2, 3, 0]]
    assert teacher_loss(student, known, torch.tensor([False]), Objective()).isfinite()


def test_tokens_without_a_teacher():
    known = draw(log_probs(2, CLASSES), 2, 3, chance(2))
    known.rest[1] = math.nan
    assert known.copy(0).negentropy.isnan().tolist() == [False, True]
    mask = torch.tensor([[True, False], [False, True]])
    scattered = known.copy(0).scatter(mask)
    assert scattered.ids.shape == (2, 2, 5)
    assert scattered.negentropy.isnan().tolist() == [[False, True], [True, True]]
    student = log_probs(2, 2, CLASSES).requires_grad_()
    loss = teacher_loss(student, scattered, torch.zeros(2, 2, dtype=torch.bool), Objective())
    loss.sum().backward()
    assert loss[0, 0] != 0 and not loss[mask.logical_not()].any() and loss[1, 1] == 0
    assert student.grad.isfinite().all() and not student.grad[1].any()


@pytest.mark.parametrize(
    "objective",
    [
        *(Objective(divergence(name)) for name in DIVERGENCES if name != "forward_kl"),
        Objective(top_k=2),
        Objective(ranking=1),
    ],
    ids=lambda objective: f"{objective.divergence.name}-{objective.top_k}-{objective.ranking}",
)
def test_objectives_with_a_biased_gradient_are_refused(objective):
    known = draw(log_probs(2, CLASSES), 2, 3, chance(2)).copy(0)
    with pytest.raises(ValueError, match="sampled teacher supports only the forward KL"):
        teacher_loss(log_probs(2, CLASSES), known, torch.zeros(2, dtype=torch.bool), objective)
    student = Projection(torch.randn(2, 4), torch.randn(CLASSES, 4))
    with pytest.raises(ValueError, match="sampled teacher supports only the forward KL"):
        fused_loss(student, torch.zeros(2, dtype=torch.long), torch.ones(2), teacher=known, objective=objective)


def test_variance_of_one_independent_draw():
    """From the definition, for each class: sum_k Var = sum_k (rest p_k - p_k^2)."""
    teacher = log_probs(TOKENS, CLASSES)
    found = tail_variance(teacher, CLASSES - 1)
    for k in range(1, CLASSES):
        wanted = []
        for row in teacher.tolist():
            tail = [math.exp(value) for value in sorted(row, reverse=True)[k:]]
            wanted.append(math.fsum(math.fsum(tail) * p - p * p for p in tail))
        assert found[k - 1].item() == pytest.approx(math.fsum(wanted) / TOKENS, abs=1e-12)


def test_the_variance_of_systematic_draws_is_at_most_that_of_independent_ones():
    teacher, m = log_probs(TOKENS, CLASSES), 4
    found = gradient_error(teacher, estimates(teacher, 2, m, 800))
    assert found.deviation**2 <= 1.05 * tail_variance(teacher, 2)[1].item() / m
    assert found.bias <= 2 * found.chance


def test_gradient_error_detects_a_bias():
    teacher = log_probs(TOKENS, CLASSES)
    cut = teacher.exp().where(teacher >= teacher.topk(3).values[:, -1:], 0.0)
    cut /= cut.sum(-1, keepdim=True)
    found = gradient_error(teacher, [cut] * 3)
    assert found.deviation == pytest.approx(0, abs=1e-7) and found.chance == pytest.approx(0, abs=1e-7)
    assert found.bias == pytest.approx((cut - teacher.exp()).norm(dim=-1).mean().item())


def test_the_head_is_chosen_by_the_variance():
    """A peaked distribution with a flat tail needs draws; one that falls in steps needs a larger head."""
    flat = torch.full((4, 100), 0.1 / 99, dtype=torch.float64)
    flat[:, 0] = 0.9
    spent = {k: (46 - 4 * k) // 2 for k in range(1, 11)}
    assert choose_head(flat.log(), spent) == 1
    stairs = torch.tensor([0.5, 0.25, 0.125, 0.0625, *[0.0625 / 96] * 96], dtype=torch.float64).expand(4, 100)
    variance = tail_variance(stairs.log(), 10).tolist()
    assert choose_head(stairs.log(), spent) == min(spent, key=lambda k: variance[k - 1] / spent[k]) > 3
    with pytest.raises(ValueError, match="no head"):
        choose_head(flat.log(), {})
    assert log_sum(flat[0].log().tolist()) == pytest.approx(0)
    assert isinstance(draw(flat.log(), 1, 2, chance(4)).copy(0), Sampled)


def test_the_variance_of_labels_is_that_of_drawn_ones():
    """Two distributions by hand, (1 - 0.5) and (1 - 1), and others by drawing."""
    assert label_variance(torch.tensor([[0.5, 0.5], [1.0, 0.0]], dtype=torch.float64).log()) == pytest.approx(0.25)
    teacher = log_probs(TOKENS, CLASSES)
    drawn = torch.multinomial(teacher.exp(), 20_000, replacement=True)
    off = F.one_hot(drawn, CLASSES) - teacher.exp().unsqueeze(1)
    assert label_variance(teacher) == pytest.approx(off.square().sum(-1).mean().item(), rel=0.02)
