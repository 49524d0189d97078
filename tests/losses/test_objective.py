"""The teacher's term of the loss in its plain form: every objective against the reference."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import UNBOUNDED, Comparison, log_softmax, slope

from fairseq_lskd.losses import DIVERGENCES, Objective, TopK, divergence, jensen_shannon, teacher_loss, temper, top_k

CLASSES = 6
EACH = [(name, 0.5) for name in DIVERGENCES] + [
    ("jensen_shannon", 0.1),
    ("skewed_reverse_kl", 0.1),
    ("adaptive_kl", 0.8),
]
#: (k, rest), including one class and all classes.
CUTS = [(None, "class"), (1, "class"), (3, "class"), (CLASSES, "class"), (1, "renormalise"), (3, "renormalise")]
CUTS += [(CLASSES, "renormalise")]
#: Without combinations that are infinite.
GRID = [
    pytest.param(each, cut, id=f"{each[0]}-{each[1]}-{cut[0]}-{cut[1]}")
    for each, cut in itertools.product(EACH, CUTS)
    if not (each[0] in UNBOUNDED and cut[1] == "renormalise")
]


def both(name="forward_kl", parameter=0.5, temperature=1.0, k=None, rest="class", ranking=0):
    """Return the objective and its reference."""
    objective = Objective(divergence(name, *[parameter] * 4), temperature, k, rest, ranking)
    return objective, Comparison(name, parameter, temperature, k, rest, ranking)


def loss_of(logits, teacher, objective, ignore=None):
    ignore = torch.zeros(logits.shape[:-1], dtype=torch.bool) if ignore is None else ignore
    return teacher_loss(logits.log_softmax(-1), teacher, ignore, objective)


@pytest.mark.parametrize(("each", "cut"), GRID)
@pytest.mark.parametrize(("temperature", "ranking"), [(1.0, 0), (1.0, 3), (0.5, 0), (4.0, 1)])
def test_value_and_gradient_are_the_formulas(each, cut, temperature, ranking):
    """With a whole teacher and with a `TopK`, in float64 and float32."""
    objective, how = both(*each, temperature, *cut, min(ranking, cut[0] or CLASSES))
    logits, theirs = 2 * torch.randn(2, 2, CLASSES), 2 * torch.randn(2, 2, CLASSES)
    ignore = torch.tensor([[False, False], [True, False]])
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 5e-5)):
        teacher = temper(theirs.to(dtype).log_softmax(-1), temperature)
        for known in (teacher, *([top_k(teacher, cut[0])] if cut[0] else [])):
            student = logits.to(dtype, copy=True).requires_grad_()
            found = loss_of(student, known, objective, ignore)
            (3.7 * found.sum()).backward()
            for place in itertools.product(range(2), range(2)):
                row, log_p = logits[place].double().tolist(), teacher[place].double().tolist()
                ignored = bool(ignore[place])
                wanted = 0.0 if ignored else how(row, log_p)
                fixed = how.at(row, log_p)
                changes = slope(lambda z, p=log_p, fixed=fixed: 3.7 * fixed(z, p), row)
                changes = [0.0] * CLASSES if ignored else changes
                assert found[place].item() == pytest.approx(wanted, rel=tolerance, abs=tolerance)
                assert student.grad[place].tolist() == pytest.approx(changes, rel=tolerance, abs=4 * tolerance)


@pytest.mark.parametrize(
    ("each", "cut"),
    [entry for entry in GRID if entry.values[0][0] != "adaptive_kl"],  # whose weight has no gradient
)
def test_gradients_of_every_objective_pass_gradcheck(each, cut):
    objective, _ = both(*each, 2.0, *cut, ranking=1)
    student = torch.randn(3, CLASSES, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(3, CLASSES, dtype=torch.float64).log_softmax(-1)
    ignore = torch.tensor([False, True, False])
    assert torch.autograd.gradcheck(lambda z: loss_of(z, teacher, objective, ignore), student)


def test_literals_with_padding():
    """p = (1/2, 1/4, 1/8, 1/8), q = (1/4, 1/4, 1/4, 1/4), T = 1; the last row is padding.

    Whole: 1/2 log 2 + 0 + 2/8 log 1/2 = log(2) / 4. Top 2 with a rest class: (1/2, 1/4, 1/4) and (1/4, 1/4, 1/2) give
    log(2) / 4 too. Top 2 renormalised: (2/3, 1/3, 0) gives 2/3 log(8/3) + 1/3 log(4/3).
    """
    p = torch.tensor([[0.5, 0.25, 0.125, 0.125], [1, 0, 0, 0]], dtype=torch.float64).log()
    q, ignore = torch.full((2, 4), 0.25, dtype=torch.float64).log(), torch.tensor([False, True])
    found = [
        teacher_loss(q, p, ignore, Objective(top_k=k, rest=rest)).tolist()
        for k, rest in ((None, "class"), (2, "class"), (2, "renormalise"))
    ]
    log = math.log
    assert found[0] == pytest.approx([log(2) / 4, 0]) and found[1] == pytest.approx([log(2) / 4, 0])
    assert found[2] == pytest.approx([log(8 / 3) * 2 / 3 + log(4 / 3) / 3, 0])


def test_literal_of_the_temperature():
    """At T = 2, q = (4/5, 1/5) is (2/3, 1/3); the teacher (1/3, 2/3) is given at T: 4 * log(2) / 3."""
    q = torch.tensor([[0.8, 0.2]], dtype=torch.float64).log()
    p = torch.tensor([[1 / 3, 2 / 3]], dtype=torch.float64).log()
    found = teacher_loss(q, p, torch.tensor([False]), Objective(temperature=2.0))
    assert found.item() == pytest.approx(4 * math.log(2) / 3)


def test_literal_of_the_ranking_at_a_temperature():
    """q = (4/5, 1/5) is (2/3, 1/3) at T = 2. The teacher ranks the second class first: 4 (D + 1/3 + 1/3)."""
    q = torch.tensor([[0.8, 0.2]], dtype=torch.float64).log()
    p = torch.tensor([[1 / 3, 2 / 3]], dtype=torch.float64).log()
    ignore = torch.tensor([False])
    alone = teacher_loss(q, p, ignore, Objective(temperature=2.0)).item()
    ranked = teacher_loss(q, p, ignore, Objective(temperature=2.0, ranking=2)).item()
    assert ranked - alone == pytest.approx(4 * 2 / 3)


def test_limit_of_a_high_temperature_is_half_the_squared_distance_of_logits():
    """Hinton et al. (2015), section 2.1: T^2 KL tends to the squared distance of logits with mean 0, divided by 2 K."""
    ours, theirs = (z - z.mean(-1, keepdim=True) for z in torch.randn(2, 1, 5, dtype=torch.float64))
    teacher = temper(theirs.log_softmax(-1), 1e4)
    found = loss_of(ours, teacher, Objective(temperature=1e4)).item()
    assert found == pytest.approx((ours - theirs).square().sum().item() / 10, rel=1e-3)


ROWS = st.integers(2, 7).flatmap(
    lambda k: st.tuples(*[st.lists(st.floats(-20, 20, allow_nan=False), min_size=k, max_size=k)] * 2)
)


@given(ROWS, st.sampled_from(EACH), st.floats(0.3, 8), st.data())
@settings(max_examples=60)
def test_zero_at_equality_never_negative_and_at_most_the_whole_divergence(rows, each, temperature, data):
    """With a rest class, and without ranking, because the order of ties is arbitrary.

    `adaptive_kl` is no f-divergence: with fewer classes, its two parts have other weights, so it can exceed the whole.
    """
    ours, theirs = (torch.tensor([row], dtype=torch.float64) for row in rows)
    k = data.draw(st.integers(1, len(rows[0])))
    whole, cut = (both(*each, temperature, k=some)[0] for some in (None, k))
    teacher = temper(theirs.log_softmax(-1), temperature)
    found, bound = loss_of(ours, teacher, cut).item(), loss_of(ours, teacher, whole).item()
    slack = 1e-9 * (temperature**2 + bound)
    assert -slack <= found
    assert found <= bound + slack or each[0] == "adaptive_kl"
    for objective in (whole, cut):
        assert abs(loss_of(theirs, teacher, objective).item()) < 1e-11 * temperature**2


@given(ROWS, st.sampled_from(EACH), st.floats(-300, 300))
@settings(max_examples=40)
def test_invariant_to_shifted_logits(rows, each, shift):
    ours, theirs = (torch.tensor([row], dtype=torch.float64) for row in rows)
    objective, _ = both(*each, 2.0, k=2)
    teacher = top_k(temper(theirs.log_softmax(-1), 2.0), 2)
    wanted = loss_of(ours, teacher, objective).item()
    assert loss_of(ours + shift, teacher, objective).item() == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("k", [1, 3, CLASSES])
def test_renormalised_divergence_is_zero_if_the_student_is_the_renormalised_teacher(k):
    theirs = torch.randn(1, CLASSES, dtype=torch.float64)
    kept = top_k(theirs.log_softmax(-1), k).ids
    ours = torch.full_like(theirs, -1e4).scatter(-1, kept, theirs.gather(-1, kept))
    objective, _ = both(k=k, rest="renormalise")
    assert loss_of(ours, theirs.log_softmax(-1), objective).item() == pytest.approx(0, abs=1e-12)
    if k < CLASSES:
        assert loss_of(theirs, theirs.log_softmax(-1), objective).item() > 0.01


@pytest.mark.parametrize(("each", "cut"), [entry for entry in GRID if entry.values[1][0] is not None])
@pytest.mark.parametrize("ranking", [0, 1])
def test_tokens_without_a_teacher(each, cut, ranking):
    """Their loss and gradient are 0, whatever the other fields contain, and no NaN reaches other tokens."""
    objective, _ = both(*each, 2.0, rest=cut[1], ranking=ranking)
    known = top_k(torch.randn(4, CLASSES).log_softmax(-1), cut[0])
    alone = known.rows(slice(0, 1))
    for n, junk in ((1, 0.0), (2, math.nan), (3, -math.inf)):
        known.ids[n], known.log_probs[n], known.rest[n] = 0, junk, math.nan
    student = torch.randn(4, CLASSES, requires_grad=True)
    found = loss_of(student, known, objective)
    found.sum().backward()
    assert found[1:].tolist() == [0, 0, 0] and not student.grad[1:].any()
    assert found[0] > 0 and student.grad.isfinite().all() and student.grad[0].any()
    assert found[0].item() == loss_of(student[:1], alone, objective).item()


@pytest.mark.parametrize("cut", [(None, "class"), (2, "class"), (2, "renormalise")])
@pytest.mark.parametrize("each", EACH)
def test_everything_masked_is_zero_and_differentiable(each, cut):
    objective, _ = both(*each, 2.0, *cut, ranking=2)
    student, teacher = torch.randn(2, 3, CLASSES, requires_grad=True), torch.randn(2, 3, CLASSES).log_softmax(-1)
    found = loss_of(student, teacher, objective, torch.ones(2, 3, dtype=torch.bool))
    found.sum().backward()
    assert not found.any() and torch.equal(student.grad, torch.zeros_like(student))


@pytest.mark.parametrize("gap", [200.0, 1e4])
@pytest.mark.parametrize("rest", ["class", "renormalise"])
def test_extreme_logits_of_a_top_k(gap, rest):
    """The student has all of its probability outside of the teacher's top two: the KL is about the gap.

    In the second case the student's probability of the rest underflows.
    """
    teacher = torch.tensor([[0.0, 0.0, -3.0, -4.0]]).log_softmax(-1)
    objective = Objective(top_k=2, rest=rest)
    for student, wanted in (([0, 0, gap, gap], gap), ([gap, gap, 0, 0], 0 if rest == "renormalise" else 0.0331 * gap)):
        logits = torch.tensor([student], requires_grad=True)
        found = loss_of(logits, teacher, objective)
        found.sum().backward()
        assert found.item() == pytest.approx(wanted, rel=0.05, abs=1.0) and logits.grad.isfinite().all()
        exact = Comparison(k=2, rest=rest)([float(z) for z in student], log_softmax([0, 0, -3, -4]))
        assert found.item() == pytest.approx(exact, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("each", EACH)
@pytest.mark.parametrize("gap", [200.0, 1e4])
def test_extreme_logits_stay_finite(each, gap):
    """Both are certain, of different classes, with and without a top k and a ranking loss."""
    student, theirs = torch.tensor([[gap, 0, 0, -gap]]), [0.0, gap, -1.0, -2.0]
    teacher = torch.tensor([theirs]).log_softmax(-1)
    for k, ranking in itertools.product((None, 1, 2, 4), (0, 1)):
        logits = student.clone().requires_grad_()
        objective, how = both(*each, k=k, ranking=ranking)
        found = loss_of(logits, teacher, objective)
        found.sum().backward()
        wanted = how(student[0].tolist(), log_softmax(theirs))
        assert found.item() == pytest.approx(wanted, rel=1e-5)
        assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", ["forward_kl", "jensen_shannon", "total_variation"])
@pytest.mark.parametrize("k", [None, 2, 3])
def test_classes_without_teacher_probability(name, k):
    """Two of four classes have probability, so the top three contain a class without, and the rest has none."""
    theirs, ours = [0.3, -math.inf, -0.4, -math.inf], [0.2, 0.9, -0.5, 0.1]
    objective, how = both(name, k=k)
    student = torch.tensor([ours], dtype=torch.float64, requires_grad=True)
    found = loss_of(student, torch.tensor([theirs], dtype=torch.float64).log_softmax(-1), objective)
    found.sum().backward()
    assert found.item() == pytest.approx(how(ours, log_softmax(theirs)))
    wanted = slope(lambda z: how(z, log_softmax(theirs)), ours)
    assert student.grad[0].tolist() == pytest.approx(wanted, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("k", [None, 3])
def test_the_teacher_gets_no_gradient(k):
    theirs = torch.randn(2, CLASSES, requires_grad=True)
    student = torch.randn(2, CLASSES, requires_grad=True)
    loss_of(student, theirs.log_softmax(-1), Objective(jensen_shannon(), 2.0, k, "class", 2)).sum().backward()
    assert student.grad.any() and theirs.grad is None


def test_a_given_top_k_equals_the_top_k_of_the_objective():
    theirs, student = torch.randn(3, CLASSES).log_softmax(-1), torch.randn(3, CLASSES)
    objective, _ = both(k=3, ranking=2)
    known, _ = both(ranking=2)
    assert torch.equal(loss_of(student, theirs, objective), loss_of(student, top_k(theirs, 3), known))
    assert isinstance(top_k(theirs, 3), TopK)
