"""The word-level divergences, at a temperature, of one teacher or several."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import UNBOUNDED, Comparison, distillation, log_softmax, slope, softmax
from reference import forward_kl as reference_kl

from fairseq_lskd.losses import (
    DIVERGENCES,
    adaptive_kl,
    alpha_divergence,
    divergence,
    forward_kl,
    jensen_shannon,
    mix_log_probs,
    reverse_kl,
    skewed_forward_kl,
    skewed_reverse_kl,
    symmetric_kl,
    temper,
    total_variation,
)

NUMBERS = st.floats(-30, 30, allow_nan=False)
ROWS = st.integers(2, 9).flatmap(lambda k: st.tuples(*[st.lists(NUMBERS, min_size=k, max_size=k)] * 2))


def log_probs(rows, dtype=torch.float64):
    return torch.tensor(rows, dtype=dtype).log_softmax(-1)


def kl(student, teacher, ignore=None):
    return forward_kl(student, teacher, torch.zeros(student.shape[:-1], dtype=torch.bool) if ignore is None else ignore)


SHAPES = [((1,), 2), ((1,), 7), ((5,), 2), ((1, 4), 7), ((3, 1), 5), ((3, 4), 7)]


@pytest.mark.parametrize(("shape", "classes"), SHAPES)
@pytest.mark.parametrize("temperature", [1.0, 0.5, 4.0])
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 3e-5)])
def test_loss_and_gradient_are_the_formulas(shape, classes, temperature, members, dtype, tolerance):
    """T^2 KL of the mean of the members' distributions at the temperature."""
    student = (3 * torch.randn(*shape, classes, dtype=dtype)).requires_grad_()
    teachers = [3 * torch.randn(*shape, classes, dtype=dtype) for _ in range(members)]
    ignore = torch.rand(shape) < 0.3
    target = torch.zeros(shape, dtype=torch.long)
    wanted = distillation(student, target, ~ignore, teachers=teachers, kd_weight=1.0, temperature=temperature)
    mean = mix_log_probs(temper(teacher.log_softmax(-1), temperature) for teacher in teachers)
    loss = temperature**2 * forward_kl(temper(student.log_softmax(-1), temperature), mean, ignore).sum()
    (3.7 * loss).backward()
    assert loss.item() == pytest.approx(wanted.loss, rel=tolerance, abs=tolerance)
    torch.testing.assert_close(student.grad.double(), 3.7 * wanted.gradient, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_go_through_float32(dtype):
    student, teacher = (3 * torch.randn(2, 4, 7)).to(dtype).requires_grad_(), (3 * torch.randn(2, 4, 7)).to(dtype)
    counts = torch.ones(2, 4, dtype=torch.bool)
    wanted = distillation(student, torch.zeros(2, 4, dtype=torch.long), counts, teachers=[teacher], kd_weight=1.0)
    loss = forward_kl(student.float().log_softmax(-1), teacher.float().log_softmax(-1), ~counts).sum()
    loss.backward()
    assert loss.item() == pytest.approx(wanted.loss, rel=1e-5)
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(student.grad.double(), wanted.gradient, rtol=step, atol=step / 16)


def test_forward_kl_by_hand():
    """Teacher (1/2, 1/4, 1/4), student (1/4, 1/4, 1/2): 1/2 * log 2 + 0 - 1/4 * log 2 = log(2) / 4.

    Teacher (1/2, 1/2, 0), student (1/8, 3/4, 1/8): 1/2 log 4 + 1/2 log(2/3) = log(8/3) / 2; the reverse KL is
    infinite. The last row is padding.
    """
    teacher = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64).log()
    student = torch.tensor([[0.25, 0.25, 0.5], [0.125, 0.75, 0.125], [0.1, 0.2, 0.7]], dtype=torch.float64).log()
    found = forward_kl(student, teacher, torch.tensor([False, False, True]))
    assert found.tolist() == pytest.approx([math.log(2) / 4, math.log(8 / 3) / 2, 0])


@given(ROWS)
@settings(max_examples=60)
def test_is_the_sum_of_the_definition_and_never_negative(rows):
    ours, theirs = rows
    found = kl(log_probs(ours), log_probs(theirs)).item()
    assert found == pytest.approx(reference_kl(log_softmax(theirs), log_softmax(ours)), rel=1e-9, abs=1e-12)
    assert found >= -1e-14


@given(ROWS)
@settings(max_examples=60)
def test_value_and_gradient_are_zero_at_equality(rows):
    student = torch.tensor(rows[0], dtype=torch.float64, requires_grad=True)
    loss = kl(student.log_softmax(-1), log_probs(rows[0]))
    loss.backward()
    assert loss.item() == 0
    assert student.grad.abs().max() < 1e-14


@given(ROWS, st.floats(-500, 500), st.floats(-500, 500))
@settings(max_examples=60)
def test_invariant_to_shifted_logits(rows, up, down):
    ours, theirs = (torch.tensor(row, dtype=torch.float64) for row in rows)
    wanted = kl(ours.log_softmax(-1), theirs.log_softmax(-1)).item()
    found = kl((ours + up).log_softmax(-1), (theirs + down).log_softmax(-1)).item()
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@given(st.lists(NUMBERS, min_size=2, max_size=9), st.floats(0.1, 50))
@settings(max_examples=60)
def test_temper_is_softmax_of_scaled_logits(row, temperature):
    found = temper(log_probs(row), temperature).exp()
    assert found.tolist() == pytest.approx(softmax(row, temperature), rel=1e-9, abs=1e-300)


def test_temper_at_one_is_the_argument_itself():
    given = torch.randn(3, 4).log_softmax(-1)
    assert temper(given, 1.0) is given


@given(st.integers(2, 6).flatmap(lambda k: st.lists(st.lists(NUMBERS, min_size=k, max_size=k), min_size=1, max_size=4)))
@settings(max_examples=60)
def test_mix_log_probs_is_the_mean_of_probabilities(members):
    found = mix_log_probs(log_probs(row) for row in members).exp()
    mean = [sum(column) / len(members) for column in zip(*map(softmax, members), strict=True)]
    assert found.tolist() == pytest.approx(mean, rel=1e-9)
    assert found.sum().item() == pytest.approx(1)


def test_mix_log_probs_of_one_distribution_is_that_distribution():
    only = torch.randn(3, 4).log_softmax(-1)
    assert torch.equal(mix_log_probs([only]), only)


def test_mix_log_probs_keeps_classes_with_probability_0_in_one_member():
    """(1, 0) and (1/2, 1/2) and (1/4, 3/4) give (7/12, 5/12)."""
    members = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.25, 0.75]], dtype=torch.float64).log()
    assert mix_log_probs(members).exp().tolist() == pytest.approx([7 / 12, 5 / 12])


def test_mix_log_probs_of_nothing():
    with pytest.raises(ValueError, match="no distribution"):
        mix_log_probs([])


def test_gradients_of_the_forward_kl_pass_gradcheck():
    student = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    teacher, ignore = log_probs(torch.randn(3, 5).tolist()), torch.tensor([False, True, False])
    assert torch.autograd.gradcheck(lambda z: 4 * forward_kl(temper(z.log_softmax(-1), 2.0), teacher, ignore), student)


def test_gradient_is_that_of_the_cross_entropy_with_the_teachers_distribution():
    """Equations (3)-(4) of the paper: p_S - p_T with respect to the logits."""
    student = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    teacher = log_probs(torch.randn(4, 6).tolist())
    kl(student.log_softmax(-1), teacher).sum().backward()
    torch.testing.assert_close(student.grad, student.detach().softmax(-1) - teacher.exp())


@pytest.mark.parametrize("gap", [200.0, 1e4])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_extreme_logits_stay_finite(gap, temperature):
    """Teacher and student are certain of different classes: KL = gap / T, gradient p_S - p_T = (1, -1, 0) / T.

    In float32 exp(-200) is 0, so log(softmax) would be -inf, and 0 * inf NaN.
    """
    student = torch.tensor([[gap, 0.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[0.0, gap, 0.0]]).log_softmax(-1)
    loss = kl(temper(student.log_softmax(-1), temperature), temper(teacher, temperature)).sum()
    loss.backward()
    assert loss.item() == pytest.approx(gap / temperature, rel=1e-6)
    assert student.grad[0].tolist() == pytest.approx([1 / temperature, -1 / temperature, 0], abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_class_without_teacher_probability_adds_nothing(temperature):
    teacher = torch.tensor([[0.3, -math.inf, -0.4]], dtype=torch.float64).log_softmax(-1)
    student = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    mean = mix_log_probs([temper(teacher, temperature)] * 2)
    loss = kl(temper(student.log_softmax(-1), temperature), mean)
    loss.sum().backward()
    theirs, ours = log_softmax([0.3, -math.inf, -0.4], temperature), log_softmax(student[0].tolist(), temperature)
    wanted = reference_kl(theirs, ours)
    assert loss.item() == pytest.approx(wanted)
    assert student.grad.isfinite().all() and student.grad.any()


def test_a_class_without_any_probability_adds_nothing():
    both = torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64).log().requires_grad_()
    loss = kl(both, both.detach())
    loss.sum().backward()
    assert loss.item() == 0 and both.grad.isfinite().all()


def test_everything_masked_is_zero_and_differentiable():
    student = torch.randn(2, 3, 7, requires_grad=True)
    teacher = torch.randn(2, 3, 7).log_softmax(-1)
    loss = forward_kl(student.log_softmax(-1), teacher, torch.ones(2, 3, dtype=torch.bool)).sum()
    loss.backward()
    assert loss.item() == 0 and torch.equal(student.grad, torch.zeros_like(student))


def test_not_contiguous():
    student, teacher = (torch.randn(4, 6, 7).log_softmax(-1) for _ in range(2))
    ignore = torch.rand(4, 6) < 0.3
    wanted = forward_kl(student, teacher, ignore)[:, 1::2]
    turned = [x.permute(2, 1, 0).contiguous().permute(2, 1, 0)[:, 1::2] for x in (student, teacher)]
    assert not turned[0].is_contiguous()
    torch.testing.assert_close(forward_kl(*turned, ignore[:, 1::2]), wanted)


# All divergences.

EACH = [("forward_kl", 0.5), ("reverse_kl", 0.5), ("total_variation", 0.5)]
EACH += [("symmetric_kl", 0.5), ("adaptive_kl", 0.5), ("adaptive_kl", 0.9)]
WITH = ("jensen_shannon", "skewed_forward_kl", "skewed_reverse_kl", "alpha_divergence")
EACH += [(name, parameter) for name in WITH for parameter in (0.1, 0.5, 0.9)]
each = pytest.mark.parametrize(("name", "beta"), EACH)


def made(name, parameter):
    """Make the divergence, with the same value for every parameter."""
    return divergence(name, *[parameter] * 4)


SMALL = st.floats(-4, 4, allow_nan=False)
SMALL_ROWS = st.integers(2, 6).flatmap(lambda k: st.tuples(*[st.lists(SMALL, min_size=k, max_size=k)] * 2))


def value(found, student, teacher):
    return found(student, teacher, torch.zeros(student.shape[:-1], dtype=torch.bool))


@each
@pytest.mark.parametrize("temperature", [1.0, 0.5, 4.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 3e-5)])
def test_each_value_and_gradient_is_the_formula(name, beta, temperature, dtype, tolerance):
    how = Comparison(name, beta, temperature)
    student = (3 * torch.randn(2, 3, 6, dtype=dtype)).requires_grad_()
    teacher = temper((3 * torch.randn(2, 3, 6, dtype=dtype)).log_softmax(-1), temperature)
    ignore = torch.tensor([[False, True, False], [False, False, True]])
    # The reference divides the rounding error of a difference from 1 by alpha (1 - alpha).
    slack = 10 / (beta * (1 - beta)) if name == "alpha_divergence" else 10
    tempered = temper(student.log_softmax(-1), temperature)
    loss = temperature**2 * made(name, beta)(tempered, teacher, ignore)
    (3.7 * loss.sum()).backward()
    for i, row in enumerate(student.detach().double().flatten(0, 1).tolist()):
        log_p = teacher.double().flatten(0, 1)[i].tolist()
        ignored = bool(ignore.flatten()[i])
        wanted = 0.0 if ignored else how(row, log_p)
        fixed = how.at(row, log_p)
        changes = [0.0] * 6 if ignored else slope(lambda z, p=log_p, fixed=fixed: 3.7 * fixed(z, p), row)
        assert loss.flatten()[i].item() == pytest.approx(wanted, rel=tolerance, abs=tolerance)
        assert student.grad.flatten(0, 1)[i].tolist() == pytest.approx(changes, rel=tolerance, abs=slack * tolerance)


@each
def test_slope_is_the_derivative_by_each_log_probability_alone(name, beta):
    """The log-probabilities are independent variables, as the fused loss needs."""
    student, teacher = (torch.randn(5, dtype=torch.float64).log_softmax(-1) for _ in range(2))
    found, slopes = made(name, beta).value_and_slope(student, teacher)
    how = Comparison(name, beta)
    assert found.item() == pytest.approx(how.divergence(teacher.tolist(), student.tolist()))
    how = how.at(student.tolist(), teacher.tolist())
    wanted = slope(lambda log_q: how.divergence(teacher.tolist(), log_q), student.tolist())
    assert slopes.tolist() == pytest.approx(wanted, rel=1e-9, abs=1e-11)


def test_literals_with_padding():
    """p = (1/2, 1/4, 1/4), q = (1/4, 1/4, 1/2), with m = (3/8, 1/4, 3/8); p = (1/2, 1/2, 0), q = (1/4, 3/4, 0).

    The last row is padding.
    """
    teacher = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64).log()
    student = torch.tensor([[0.25, 0.25, 0.5], [0.25, 0.75, 0.0], [0.1, 0.2, 0.7]], dtype=torch.float64).log()
    ignore = torch.tensor([False, False, True])
    log = math.log
    reverse = [log(2) / 4, log(1 / 2) / 4 + log(3 / 2) * 3 / 4, 0]
    assert reverse_kl(student, teacher, ignore).tolist() == pytest.approx(reverse)
    assert total_variation(student, teacher, ignore).tolist() == pytest.approx([1 / 4, 1 / 4, 0])
    js = [
        log(4 / 3) / 2 + log(2 / 3) / 4,
        (log(4 / 3) + log(4 / 5)) / 4 + (log(2 / 3) / 4 + log(6 / 5) * 3 / 4) / 2,
        0,
    ]
    assert jensen_shannon()(student, teacher, ignore).tolist() == pytest.approx(js)


def test_skewed_alpha_and_symmetric_divergences_by_hand():
    """p = (1/2, 1/2, 0), q = (1/4, 1/2, 1/4).

    Skewed by 1/2: m = (3/8, 1/2, 1/8) both ways. Alpha 1/2: sum of sqrt(p q) = 1/sqrt(8) + 1/2.
    """
    p = torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64).log()
    q = torch.tensor([[0.25, 0.5, 0.25]], dtype=torch.float64).log()
    log = math.log
    assert value(skewed_forward_kl(0.5), q, p).item() == pytest.approx(log(4 / 3) / 2)
    assert value(skewed_reverse_kl(0.5), q, p).item() == pytest.approx((log(2 / 3) + log(2)) / 4)
    assert value(alpha_divergence(0.5), q, p).item() == pytest.approx(4 * (1 / 2 - 1 / math.sqrt(8)))
    # (1/2, 1/4, 1/4) and (1/4, 1/4, 1/2) differ by log 2 at two classes.
    p, q = (torch.tensor([row], dtype=torch.float64).log() for row in ([0.5, 0.25, 0.25], [0.25, 0.25, 0.5]))
    assert value(symmetric_kl, q, p).item() == pytest.approx(log(2) / 4)


def test_adaptive_kl_by_hand():
    """p = (1/2, 1/4, 1/4), q = (1/4, 1/8, 5/8): gaps 1/4, 1/8, 3/8; KL = log(2) 3/4 - log(5/2) / 4.

    The head of 1/2 is the first class, with a third of the gaps. A larger head has all classes, because of the tie, and
    gives the forward KL.
    """
    p = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64).log()
    q = torch.tensor([[0.25, 0.125, 0.625]], dtype=torch.float64).log()
    forward = math.log(2) * 3 / 4 - math.log(5 / 2) / 4
    backward = -math.log(2) * 3 / 8 + math.log(5 / 2) * 5 / 8
    assert value(adaptive_kl(0.5), q, p).item() == pytest.approx(forward / 3 + backward * 2 / 3)
    assert value(adaptive_kl(0.51), q, p).item() == pytest.approx(forward)
    permuted = value(adaptive_kl(0.5), q[:, [2, 0, 1]], p[:, [2, 0, 1]]).item()
    assert permuted == pytest.approx(forward / 3 + backward * 2 / 3)


@given(ROWS, st.floats(0.01, 0.99))
@settings(max_examples=40)
def test_skewed_kls_are_bounded_and_mirror_each_other(rows, skew):
    """The bound is -log(skew). The skewed reverse KL is the skewed forward KL with the arguments swapped."""
    ours, theirs = map(log_probs, rows)
    found = value(skewed_forward_kl(skew), ours, theirs).item()
    assert found <= -math.log(skew) + 1e-12
    assert value(skewed_reverse_kl(skew), theirs, ours).item() == pytest.approx(found, rel=1e-9, abs=1e-13)


@given(SMALL_ROWS)
@settings(max_examples=40)
def test_limits_of_skewed_and_alpha_divergences(rows):
    """Skew 0 gives the KL itself, alpha 1 the forward KL, alpha 0 the reverse KL."""
    ours, theirs = map(log_probs, rows)
    for found, limit in (
        (skewed_forward_kl(1e-9), forward_kl),
        (skewed_reverse_kl(1e-9), reverse_kl),
        (alpha_divergence(1 - 1e-5), forward_kl),
        (alpha_divergence(1e-5), reverse_kl),
    ):
        assert value(found, ours, theirs).item() == pytest.approx(value(limit, ours, theirs).item(), rel=1e-2, abs=1e-6)


@given(ROWS)
@settings(max_examples=40)
def test_symmetries(rows):
    ours, theirs = map(log_probs, rows)
    for found in (symmetric_kl, alpha_divergence(0.5)):
        there, back = value(found, ours, theirs).item(), value(found, theirs, ours).item()
        assert there == pytest.approx(back, rel=1e-9, abs=1e-12)
    both = value(forward_kl, ours, theirs).item() + value(reverse_kl, ours, theirs).item()
    assert value(symmetric_kl, ours, theirs).item() == pytest.approx(both / 2, rel=1e-9, abs=1e-13)


@given(ROWS, st.floats(0.05, 0.95))
@settings(max_examples=40)
def test_the_adaptive_kl_is_between_both_kls(rows, head):
    ours, theirs = map(log_probs, rows)
    least, most = sorted(value(limit, ours, theirs).item() for limit in (forward_kl, reverse_kl))
    assert least - 1e-12 <= value(adaptive_kl(head), ours, theirs).item() <= most + 1e-9 * (1 + most)


def test_distributions_without_a_common_class_by_hand():
    """Divergences have their maximum: total variation 1, Jensen-Shannon the entropy of (beta, 1 - beta)."""
    p, q = torch.tensor([[1.0, 0.0]], dtype=torch.float64).log(), torch.tensor([[0.0, 1.0]], dtype=torch.float64).log()
    assert value(total_variation, q, p).item() == 1
    assert value(jensen_shannon(), q, p).item() == pytest.approx(math.log(2))
    assert value(jensen_shannon(0.25), q, p).item() == pytest.approx(math.log(4) / 4 + math.log(4 / 3) * 3 / 4)


def test_beta_is_the_share_of_the_teacher():
    """p = (1, 0), q = (1/2, 1/2), beta = 1/4: m = (5/8, 3/8)."""
    p, q = torch.tensor([[1.0, 0.0]], dtype=torch.float64).log(), torch.tensor([[0.5, 0.5]], dtype=torch.float64).log()
    wanted = math.log(8 / 5) / 4 + 3 / 4 * (math.log(4 / 5) + math.log(4 / 3)) / 2
    assert value(jensen_shannon(0.25), q, p).item() == pytest.approx(wanted)


#: Without adaptive_kl, whose weight has no gradient, so gradcheck fails.
differentiable = pytest.mark.parametrize(("name", "beta"), [each for each in EACH if each[0] != "adaptive_kl"])


@differentiable
def test_gradcheck_of_each(name, beta):
    student = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    teacher, ignore = log_probs(torch.randn(3, 5).tolist()), torch.tensor([False, True, False])
    found = made(name, beta)
    assert torch.autograd.gradcheck(lambda z: found(temper(z.log_softmax(-1), 2.0), teacher, ignore), student)


@each
@given(ROWS)
@settings(max_examples=30)
def test_each_is_zero_with_zero_gradient_at_equality_and_never_negative(name, beta, rows):
    found = made(name, beta)
    ours, theirs = rows
    student = torch.tensor(ours, dtype=torch.float64, requires_grad=True)
    same = value(found, student.log_softmax(-1), log_probs(ours))
    same.backward()
    assert abs(same.item()) < 1e-13 and student.grad.abs().max() < 1e-13
    assert value(found, log_probs(ours), log_probs(theirs)).item() >= -1e-13


@each
@given(ROWS, st.floats(-500, 500), st.floats(-500, 500))
@settings(max_examples=20)
def test_each_is_invariant_to_shifted_logits(name, beta, rows, up, down):
    found = made(name, beta)
    ours, theirs = (torch.tensor(row, dtype=torch.float64) for row in rows)
    wanted = value(found, ours.log_softmax(-1), theirs.log_softmax(-1)).item()
    shifted = value(found, (ours + up).log_softmax(-1), (theirs + down).log_softmax(-1)).item()
    assert shifted == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@given(ROWS, st.floats(0.01, 0.99))
@settings(max_examples=40)
def test_jensen_shannon_is_bounded_and_symmetric_with_1_minus_beta(rows, beta):
    ours, theirs = map(log_probs, rows)
    found = value(jensen_shannon(beta), ours, theirs).item()
    assert found <= -beta * math.log(beta) - (1 - beta) * math.log(1 - beta) + 1e-12
    assert found == pytest.approx(value(jensen_shannon(1 - beta), theirs, ours).item(), rel=1e-9, abs=1e-13)
    half = jensen_shannon(0.5)
    assert value(half, ours, theirs).item() == pytest.approx(value(half, theirs, ours).item(), rel=1e-9, abs=1e-13)


@given(SMALL_ROWS)
@settings(max_examples=40)
def test_jensen_shannon_tends_to_both_directions_of_kl(rows):
    """Divided by beta (1 - beta), it tends to the forward KL for beta to 0, to the reverse KL for beta to 1."""
    ours, theirs = map(log_probs, rows)
    for beta, limit in ((1e-7, forward_kl), (1 - 1e-7, reverse_kl)):
        found = value(jensen_shannon(beta), ours, theirs).item() / (beta * (1 - beta))
        assert found == pytest.approx(value(limit, ours, theirs).item(), rel=1e-2, abs=1e-6)


@given(ROWS)
@settings(max_examples=40)
def test_total_variation_is_symmetric_and_bounded(rows):
    """The bounds are 1, and the square root of half of either KL (Pinsker)."""
    ours, theirs = map(log_probs, rows)
    found = value(total_variation, ours, theirs).item()
    assert found == value(total_variation, theirs, ours).item()
    assert found <= 1 + 1e-12
    for kl_ in (forward_kl, reverse_kl):
        assert 2 * found**2 <= value(kl_, ours, theirs).item() + 1e-12


@given(ROWS)
@settings(max_examples=20)
def test_reverse_kl_is_forward_kl_with_swapped_arguments(rows):
    ours, theirs = map(log_probs, rows)
    assert value(reverse_kl, ours, theirs).item() == pytest.approx(kl(theirs, ours).item(), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("gap", [200.0, 1e4])
@pytest.mark.parametrize(
    ("found", "wanted"),
    [(reverse_kl, lambda gap: gap), (total_variation, lambda gap: 1), (jensen_shannon(), lambda gap: math.log(2))],
)
def test_extreme_logits_stay_finite_in_the_others(gap, found, wanted):
    """Both are certain, of different classes. The gradient of a certain student is 0."""
    student = torch.tensor([[gap, 0.0, 0.0]], requires_grad=True)
    loss = value(found, student.log_softmax(-1), torch.tensor([[0.0, gap, 0.0]]).log_softmax(-1))
    loss.backward()
    assert loss.item() == pytest.approx(wanted(gap), rel=1e-6)
    assert student.grad[0].tolist() == pytest.approx([0, 0, 0], abs=1e-6)


@each
def test_a_class_without_teacher_probability(name, beta):
    """Unbounded divergences are infinite; the others are finite, with the gradient of the formula."""
    theirs = [0.3, -math.inf, -0.4]
    student = torch.tensor([[0.2, 0.9, -0.5]], dtype=torch.float64, requires_grad=True)
    loss = value(made(name, beta), student.log_softmax(-1), log_probs([theirs]))
    loss.sum().backward()
    if name in UNBOUNDED:
        assert loss.item() > 1e300 and not student.grad.isnan().any()
        return
    how = Comparison(name, beta)
    assert loss.item() == pytest.approx(how([0.2, 0.9, -0.5], log_softmax(theirs)))
    how = how.at([0.2, 0.9, -0.5], log_softmax(theirs))
    wanted = slope(lambda z: how(z, log_softmax(theirs)), [0.2, 0.9, -0.5])
    assert student.grad[0].tolist() == pytest.approx(wanted, rel=1e-9)


@each
def test_the_teacher_gets_no_gradient(name, beta):
    student, teacher = (torch.randn(2, 4).log_softmax(-1).requires_grad_() for _ in range(2))
    value(made(name, beta), student, teacher).sum().backward()
    assert student.grad.any() and teacher.grad is None


@each
def test_values_at_ignored_tokens_have_no_effect(name, beta):
    student, teacher = torch.randn(3, 4).log_softmax(-1), torch.randn(3, 4).log_softmax(-1)
    ignore = torch.tensor([False, True, True])
    student[1], teacher[2] = math.nan, math.inf
    student.requires_grad_()
    loss = made(name, beta)(student, teacher, ignore)
    loss.sum().backward()
    assert loss[1:].tolist() == [0, 0] and not student.grad[1:].any()
    assert loss[0].isfinite() and student.grad[0].isfinite().all() and student.grad[0].any()


def test_by_name():
    assert {name for name, _ in EACH} == set(DIVERGENCES)
    assert [divergence(name).name for name in DIVERGENCES] == list(DIVERGENCES)
    with pytest.raises(ValueError, match=r"'kl'.* forward_kl, reverse_kl"):
        divergence("kl")


@pytest.mark.parametrize("number", [0.0, 1.0, -0.1, math.nan])
@pytest.mark.parametrize(
    "name", ["jensen_shannon", "skewed_forward_kl", "skewed_reverse_kl", "adaptive_kl", "alpha_divergence"]
)
def test_a_parameter_out_of_range(name, number):
    with pytest.raises(ValueError, match=f"is {number}, expected a number between 0 and 1"):
        made(name, number)


def test_unbounded_divergences_are_infinite():
    """At a class where the student has probability and the teacher has none."""
    p, q = torch.tensor([[1.0, 0.0]]).log(), torch.tensor([[0.5, 0.5]]).log()
    for name in DIVERGENCES:
        found = divergence(name)
        assert found.unbounded == (name in UNBOUNDED) == (value(found, q, p).item() > 1e30), name
