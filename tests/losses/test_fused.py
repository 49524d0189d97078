"""The fused loss: values and gradients equal the reference for all chunk sizes, without a whole tensor of logits."""

import dataclasses
import itertools
import math
import random
import weakref

import pytest
import torch
import torch.nn.functional as F
from reference import UNBOUNDED, Comparison, mean_at_temperature, slope, weighted
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fairseq_lskd.losses import (
    DIVERGENCES,
    Objective,
    Projection,
    divergence,
    fused,
    fused_loss,
    mix_log_probs,
    negative_log_likelihood,
    projection,
    smoothed_cross_entropy,
    smoothing_term,
    teacher_loss,
    temper,
    top_k,
)


@dataclasses.dataclass(frozen=True)
class Case:
    """One combination of the options of the fused loss."""

    name: str | None = "forward_kl"  #: the divergence; None is no teacher
    temperature: float = 1.0
    k: int | None = None
    rest: str = "class"
    ranking: int = 0
    alpha: float = 0.0
    prior: bool = False
    members: int = 1
    cached: bool = False  #: whether the teacher is a `TopK`
    weights: str = "zeros"  #: teacher weights: "zeros" (some are 0) or "none"
    chunk: int | None = 5
    bias: bool = True
    parameter: float = 0.3  #: of divergences that have one

    def __str__(self):
        changed = [field for field in dataclasses.fields(self) if getattr(self, field.name) != field.default]
        return " ".join(f"{field.name}={getattr(self, field.name)}" for field in changed) or "default"

    @property
    def possible(self):
        """False for combinations that the criterions refuse, or in which an option has no effect."""
        if self.prior and self.alpha == 0:
            return False
        if self.name is None:
            return self == Case(name=None, alpha=self.alpha, prior=self.prior, chunk=self.chunk, bias=self.bias)
        if (self.cached or self.rest == "renormalise") and self.k is None:
            return False
        if self.name in UNBOUNDED and self.rest == "renormalise":
            return False
        return self.ranking <= (self.k or 9)

    @property
    def objective(self):
        return Objective(
            divergence(self.name, *[self.parameter] * 4), self.temperature, self.k, self.rest, self.ranking
        )

    @property
    def comparison(self):
        return Comparison(self.name, self.parameter, self.temperature, self.k, self.rest, self.ranking)


class Problem:
    """Random hidden states, matrices and labels for a case."""

    def __init__(self, case, tokens=11, classes=9, width=5, widths=(4, 7, 3), dtype=torch.float64, seed=3):
        self.case, chance = case, torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=chance, dtype=torch.float64).to(dtype)

        self.student = Projection(
            normal(tokens, width).requires_grad_(),
            normal(classes, width).requires_grad_(),
            normal(classes).requires_grad_() if case.bias else None,
        )
        # Members with different widths, some with a bias.
        self.members = [
            Projection(normal(tokens, w), normal(classes, w), normal(classes) if n else None)
            for n, w in enumerate(widths[: case.members])
        ]
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        self.target = torch.randint(classes, (tokens,), generator=chance)
        self.label_weight = torch.rand(tokens, generator=chance, dtype=torch.float64).to(exact)
        taught = torch.rand(tokens, generator=chance) < 0.7
        self.teacher_weight = None
        if case.weights == "zeros":
            self.teacher_weight = (torch.rand(tokens, generator=chance, dtype=torch.float64) * taught).to(exact)
        self.prior = normal(classes).double().softmax(0).to(exact) if case.prior else None

    @property
    def log_teacher(self):
        """The ensemble's log-probabilities at the temperature, `[N, K]`."""
        scores = (F.linear(m.hidden.double(), m.weight.double(), _double(m.bias)) for m in self.members)
        return mix_log_probs(temper(score.log_softmax(-1), self.case.temperature) for score in scores)

    @property
    def teacher(self):
        if self.case.name is None:
            return None
        if not self.case.cached:
            return self.members
        known = top_k(self.log_teacher, self.case.k)
        exact = self.label_weight.dtype
        return known._replace(log_probs=known.log_probs.to(exact), rest=known.rest.to(exact))

    def arguments(self):
        return {
            "student": self.student,
            "target": self.target,
            "label_weight": self.label_weight,
            "label_smoothing": self.case.alpha,
            "prior": self.prior,
            "teacher": self.teacher,
            "teacher_weight": self.teacher_weight if self.case.name else None,
            "objective": self.case.objective if self.case.name else None,
            "chunk": self.case.chunk,
        }

    def fused(self, **changes):
        return fused_loss(**{**self.arguments(), **changes})

    def gradients(self, loss):
        """Return the gradients of a loss with respect to the student's tensors that require one."""
        tensors = [tensor for tensor in self.student if tensor is not None and tensor.requires_grad]
        return torch.autograd.grad(loss, tensors)

    def plain(self, dtype=torch.float64, scores=None):
        """Compute the loss on whole tensors, by default in float64 from the rounded hidden states and matrices."""
        if scores is None:
            scores = F.linear(*(None if tensor is None else tensor.to(dtype) for tensor in self.student))
            scores = scores.to(torch.promote_types(dtype, torch.float32))
        student, case = scores.log_softmax(-1), self.case
        ignore = torch.zeros_like(self.target, dtype=torch.bool)
        cost = negative_log_likelihood(student, self.target, ignore)
        if case.alpha > 0:
            smooth = smoothing_term(student, ignore, self.prior)
            cost = smoothed_cross_entropy(cost, smooth, case.alpha, student.size(-1), self.prior is None)
        loss = (self.label_weight * cost).sum()
        if case.name is not None:
            part = teacher_loss(student, self.log_teacher.to(student), ignore, case.objective)
            loss = loss + (part if self.teacher_weight is None else part * self.teacher_weight).sum()
        return loss

    def reference(self):
        """Compute the loss from its formulas, and its gradient with respect to each tensor."""
        hidden, weight, bias = (None if tensor is None else tensor.detach().double() for tensor in self.student)
        case = self.case
        teachers = [F.linear(m.hidden.double(), m.weight.double(), _double(m.bias)) for m in self.members]
        ones = torch.ones_like(self.label_weight)
        found = weighted(
            F.linear(hidden, weight, bias),
            self.target,
            self.label_weight.tolist(),
            alpha=case.alpha,
            prior=None if self.prior is None else self.prior.tolist(),
            log_teacher=mean_at_temperature(teachers, case.temperature) if case.name else (),
            teacher_weights=(ones if self.teacher_weight is None else self.teacher_weight).tolist(),
            how=case.comparison if case.name else None,
        )
        slopes = [found.gradient @ weight, found.gradient.t() @ hidden]
        return found, slopes if bias is None else [*slopes, found.gradient.sum(0)]


def _double(tensor):
    return None if tensor is None else tensor.double()


AXES = {
    "name": [*DIVERGENCES, None],
    "temperature": [1.0, 3.0, 0.5],
    "k": [None, 1, 4, 9],
    "rest": ["class", "renormalise"],
    "ranking": [0, 1, 4],
    "alpha": [0.0, 0.1],
    "prior": [False, True],
    "members": [1, 2, 3],
    "cached": [False, True],
    "weights": ["zeros", "none"],
    "chunk": [1, 5, 64, None],
    "bias": [True, False],
}


def cases(count):
    """Return `count` cases: all pairs of a divergence and another option's value, and random ones (fixed seed)."""
    chance = random.Random(5)
    found: dict[Case, None] = {}

    def draw(**fixed):
        for _ in range(1000):
            case = Case(**{axis: chance.choice(values) for axis, values in AXES.items()} | fixed)
            if case.possible:
                found[case] = None
                return

    for name, axis in itertools.product(AXES["name"], AXES):
        for value in AXES[axis]:
            draw(**{"name": name, axis: value})
    draw(name=None, temperature=1.0, k=None, rest="class", ranking=0, members=1, cached=False, weights="zeros")
    while len(found) < count:
        draw()
    return list(found)


CASES = cases(160)


def test_the_cases_cover_all_pairs():
    for axis, values in AXES.items():
        assert {getattr(case, axis) for case in CASES} == set(values)
        for name in DIVERGENCES:
            seen = {getattr(case, axis) for case in CASES if case.name == name}
            assert axis == "name" or seen >= set(values) - ({"renormalise"} if name in UNBOUNDED else set())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_are_those_of_the_formulas_and_of_the_plain_form(case):
    """The loss is scaled before backward, so that the test fails if the upstream gradient is ignored."""
    problem = Problem(case)
    found = problem.fused(guess=True)
    gradients = problem.gradients(3.7 * found.loss)
    wanted, slopes = problem.reference()
    assert found.loss.item() == pytest.approx(wanted.loss, rel=1e-10)
    assert found.nll.tolist() == pytest.approx(wanted.nll, rel=1e-10)
    assert found.teacher.tolist() == pytest.approx(wanted.kd, rel=1e-9, abs=1e-12)
    scores = F.linear(*problem.student)
    assert torch.equal(found.guess, scores.argmax(-1))
    plain = problem.plain()
    assert found.loss.item() == pytest.approx(plain.item(), rel=1e-12)
    for mine, formula, whole in zip(gradients, slopes, problem.gradients(3.7 * plain), strict=True):
        torch.testing.assert_close(mine, 3.7 * formula, rtol=1e-8, atol=1e-9)
        torch.testing.assert_close(mine, whole, rtol=1e-10, atol=1e-12)


def test_gradients_are_differences_of_the_loss():
    """Finite differences with respect to every number in all three tensors."""
    case = Case("jensen_shannon", 2.0, k=3, ranking=2, alpha=0.1, members=2, chunk=2)
    problem = Problem(case, tokens=4, classes=5, width=3)
    gradients = torch.cat([gradient.flatten() for gradient in problem.gradients(problem.fused().loss)])
    shapes = [tensor.shape for tensor in problem.student]

    def loss(numbers):
        parts = torch.tensor(numbers, dtype=torch.float64).split([shape.numel() for shape in shapes])
        problem.student = Projection(*(part.view(shape) for part, shape in zip(parts, shapes, strict=True)))
        return problem.fused().loss.item()

    numbers = torch.cat([tensor.detach().flatten() for tensor in problem.student]).tolist()
    assert gradients.tolist() == pytest.approx(slope(loss, numbers), rel=1e-8, abs=1e-9)


# Arguments.


@pytest.mark.parametrize("needing", [set(c) for n in (0, 1, 2) for c in itertools.combinations(range(3), n)])
def test_any_of_the_three_tensors_may_need_a_gradient(needing):
    problem = Problem(Case("reverse_kl", alpha=0.1))
    whole = problem.fused()
    wanted = problem.gradients(whole.loss)
    for i, tensor in enumerate(problem.student):
        tensor.requires_grad_(i in needing)
    found = problem.fused()
    assert found.loss.item() == whole.loss.item() and found.loss.requires_grad == bool(needing)
    assert not any(value.requires_grad for value in found[1:])
    if needing:
        for mine, i in zip(problem.gradients(found.loss), sorted(needing), strict=True):
            assert torch.equal(mine, wanted[i])


def test_the_same_values_without_gradients():
    problem = Problem(Case(temperature=3.0, k=4, alpha=0.1))
    wanted = problem.fused(guess=True)
    with torch.no_grad():
        found = problem.fused(guess=True)
    assert not found.loss.requires_grad
    assert all(torch.equal(mine, whole) for mine, whole in zip(found, wanted, strict=True))
    assert problem.fused().guess.numel() == 0


def test_it_can_be_differentiated_once():
    problem = Problem(Case())
    loss = problem.fused().loss
    torch.autograd.grad(loss, problem.student, retain_graph=True)
    with pytest.raises(RuntimeError, match="called twice"):
        torch.autograd.grad(loss, problem.student)


@pytest.mark.parametrize("case", [Case(None, alpha=0.1), Case(), Case(k=3, cached=True), Case(weights="none")], ids=str)
def test_no_tokens(case):
    problem = Problem(case, tokens=0)
    found = problem.fused(guess=True)
    assert found.loss.item() == 0 and [value.numel() for value in found[1:]] == [0, 0, 0]
    assert not any(gradient.any() for gradient in problem.gradients(found.loss))
    assert [gradient.shape for gradient in problem.gradients(problem.fused().loss)] == [(0, 5), (9, 5), (9,)]


@pytest.mark.parametrize("case", [Case(alpha=0.1), Case("reverse_kl"), Case(k=3, cached=True)], ids=str)
def test_weights_of_0(case):
    """Tokens without any weight add nothing to the loss or to gradients."""
    problem = Problem(case)
    problem.label_weight.zero_()
    problem.teacher_weight.zero_()
    found = problem.fused()
    assert found.loss.item() == 0 and not found.teacher.any() and found.nll.all()
    assert not any(gradient.any() for gradient in problem.gradients(found.loss))


def test_teachers_are_projected_only_for_taught_tokens():
    """The hidden states of other tokens are not read."""
    problem = Problem(Case(weights="none"))
    problem.teacher_weight = torch.tensor([0.0, 1.0] * 5 + [0.0], dtype=torch.float64)
    wanted = problem.fused()
    problem.members[0].hidden[0::2] = math.nan
    found = problem.fused()
    assert found.loss.item() == wanted.loss.item() and torch.equal(found.teacher, wanted.teacher)
    assert not found.teacher[0::2].any() and found.teacher[1::2].all()


@pytest.mark.parametrize("k", [None, 3])
@pytest.mark.parametrize("name", [*DIVERGENCES])
def test_a_broken_teacher_gives_nan(name, k):
    """For example a teacher in float16 that overflows. The loss shows it, with and without a top k."""
    problem = Problem(Case(name, 2.0, k=k))
    problem.members[0].hidden.fill_(math.nan)
    assert problem.fused().loss.isnan() and problem.plain().isnan()


@pytest.mark.parametrize("name", [*DIVERGENCES])
@pytest.mark.parametrize("ranking", [0, 2])
def test_tokens_without_a_teacher(name, ranking):
    """They count like tokens with teacher weight 0, whatever the other fields contain."""
    problem = Problem(Case(name, 2.0, k=3, ranking=ranking, cached=True, weights="none"))
    known = problem.teacher
    weight = torch.ones_like(problem.label_weight)
    for n, junk in ((1, 0.0), (4, math.nan), (10, -math.inf)):
        known.ids[n], known.log_probs[n], known.rest[n], weight[n] = 0, junk, math.nan, 0
    found = problem.fused(teacher=known)
    wanted = problem.fused(teacher_weight=weight)
    assert found.loss.item() == pytest.approx(wanted.loss.item(), rel=1e-12)
    assert found.teacher.tolist() == pytest.approx(wanted.teacher.tolist(), rel=1e-12)
    for mine, others in zip(problem.gradients(found.loss), problem.gradients(wanted.loss), strict=True):
        torch.testing.assert_close(mine, others)


@pytest.mark.parametrize("chunk", [2, 64])
def test_a_shared_matrix_gets_both_gradients(chunk):
    """The output matrix is the embedding too."""
    problem = Problem(Case(chunk=chunk))
    tokens = torch.arange(11) % 9
    found = []
    for form in ("fused", "plain"):
        matrix = problem.student.weight.detach().clone().requires_grad_()
        problem.student = Projection(matrix[tokens].tanh(), matrix, problem.student.bias)
        loss = problem.fused().loss if form == "fused" else problem.plain()
        (2.5 * loss + matrix.sum()).backward()
        found.append(matrix.grad)
    torch.testing.assert_close(*found)


def test_not_contiguous():
    problem = Problem(Case(temperature=3.0, members=2))
    wanted = problem.fused()
    gradients = problem.gradients(wanted.loss)
    turned = [tensor.detach().t().contiguous().t().requires_grad_() for tensor in problem.student[:2]]
    problem.student = Projection(*turned, problem.student.bias)
    problem.members = [m._replace(hidden=m.hidden.t().contiguous().t()) for m in problem.members]
    problem.label_weight = problem.label_weight.repeat_interleave(2)[::2]
    problem.target = problem.target.repeat_interleave(2)[::2]
    assert not any(t.is_contiguous() for t in (*turned, problem.target, problem.label_weight))
    found = problem.fused()
    torch.testing.assert_close(found.loss, wanted.loss)
    for mine, whole in zip(problem.gradients(found.loss), gradients, strict=True):
        torch.testing.assert_close(mine, whole)


def test_ties_in_the_ranking_are_resolved_as_in_the_plain_form():
    """All classes have equal probability for student and teacher."""
    problem = Problem(Case(k=4, ranking=2))
    with torch.no_grad():
        for projection in (problem.student, problem.members[0]):
            projection.weight.zero_()
        problem.student.bias.zero_()
    assert problem.fused().loss.item() == pytest.approx(problem.plain().item())


# Numerically hard cases.

HARD = [Case(name) for name in DIVERGENCES] + [Case(name, k=k) for name in DIVERGENCES for k in (1, 2, 4)]
HARD += [Case(k=2, rest="renormalise"), Case(ranking=2), Case(alpha=0.1, temperature=2.0)]


@pytest.mark.parametrize("gap", [200.0, 1e4])
@pytest.mark.parametrize("case", HARD, ids=str)
def test_extreme_logits(case, gap):
    """Student and teacher are certain, of the same or of different classes; float32 against formulas in float64."""
    problem = Problem(dataclasses.replace(case, bias=False, weights="none"), tokens=6, classes=4, width=4)
    student = gap * torch.tensor(
        [[1.0, 0, 0, -1], [0, 1, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    )
    teacher = gap * torch.tensor(
        [[0.0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, -1]]
    )
    # Avoid ties among the most probable classes.
    student += torch.tensor([0.0, -0.3, -0.1, -0.2])
    teacher += torch.tensor([0.0, -1, -2, -3])
    problem.student = Projection(student.requires_grad_(), torch.eye(4).requires_grad_())
    problem.members = [Projection(teacher, torch.eye(4))]
    problem.label_weight = problem.label_weight.float()
    found = problem.fused()
    wanted, (slopes, _) = problem.reference()
    assert found.loss.item() == pytest.approx(wanted.loss, rel=1e-5)
    assert found.teacher.tolist() == pytest.approx(wanted.kd, rel=1e-5, abs=1e-5)
    gradient = problem.gradients(found.loss)[0]
    torch.testing.assert_close(gradient.double(), slopes, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("case", HARD, ids=str)
@pytest.mark.parametrize("excluded", ["teacher", "student", "both"])
def test_classes_without_any_probability(case, excluded):
    """With a bias of -inf: the loss is never NaN, and finite if that of the plain form is."""
    problem = Problem(case, dtype=torch.float32)
    push = torch.zeros(9)
    push[7] = -math.inf
    problem.target[problem.target == 7] = 3
    if excluded != "teacher":
        with torch.no_grad():
            problem.student.bias.copy_(push)
    if excluded != "student":
        problem.members = [m._replace(bias=push) for m in problem.members]
    plain = problem.plain(torch.float32)
    found = problem.fused()
    assert not found.loss.isnan() and not found.teacher.isnan().any()
    if plain.isfinite() and plain < 1e30:
        assert found.loss.item() == pytest.approx(plain.item(), rel=1e-5)
        pairs = zip(problem.gradients(found.loss), problem.gradients(plain), strict=True)
        assert all(torch.allclose(mine, whole, rtol=1e-4, atol=1e-5) for mine, whole in pairs)
    else:
        assert found.loss > 1e30


# Other precisions. The error bounds of a gradient follow from the roundings: of the gradient with respect to the
# logits, and of the result.


def bounds(problem, unit, gradient):
    """Return the exact gradients and bounds of their errors.

    Args:
        unit: half the spacing of numbers at 1.
        gradient: the exact gradient with respect to the logits.
    """
    hidden, weight = (tensor.detach().double() for tensor in problem.student[:2])
    sizes = gradient.abs()
    exact = [gradient @ weight, gradient.t() @ hidden, gradient.sum(0)]
    # Three roundings: of the gradient's parts, which may cancel (twice their size), and of the result.
    largest = [sizes @ weight.abs(), sizes.t() @ hidden.abs(), sizes.sum(0)]
    return exact, [4 * unit * whole for whole in largest]


def logits_gradient(problem):
    """Return the exact gradient with respect to the logits, by autograd in float64 on the rounded tensors."""
    scores = F.linear(*(tensor.detach().double() for tensor in problem.student)).requires_grad_()
    return torch.autograd.grad(problem.plain(scores=scores), scores)[0]


PRECISE = [Case(alpha=0.1), Case("reverse_kl", 2.0), Case("jensen_shannon", k=8, members=2), Case(k=8, cached=True)]
PRECISE += [Case("total_variation", ranking=5), Case(None), Case("adaptive_kl"), Case("alpha_divergence", 2.0, k=8)]
PRECISE += [Case("skewed_forward_kl"), Case("skewed_reverse_kl", 2.0), Case("symmetric_kl")]


@pytest.mark.parametrize("case", PRECISE, ids=str)
def test_float32_with_a_large_vocabulary(case):
    problem = Problem(dataclasses.replace(case, chunk=7), tokens=16, classes=32_000, width=8, dtype=torch.float32)
    found = problem.fused()
    exact = problem.plain()
    assert found.loss.item() == pytest.approx(exact.item(), rel=2e-6)
    wanted, limits = bounds(problem, torch.finfo(torch.float32).eps, logits_gradient(problem))
    # With these divergences, a class's gradient is the difference of parts that are larger than the result.
    parts = {"adaptive_kl": 2, "alpha_divergence": 4}.get(case.name, 1)
    for mine, whole, limit in zip(problem.gradients(found.loss), wanted, limits, strict=True):
        # Logits of size up to 20 have an error of up to 20 units, which exp turns into a relative error.
        assert ((mine - whole).abs() <= 64 * parts * limit + 1e-12).all()


WIDE = [
    *(Case(name) for name in DIVERGENCES if name != "total_variation"),
    Case("jensen_shannon", members=2),
    Case(k=8),
    Case(alpha=0.1, ranking=3),
]


@pytest.mark.parametrize("case", WIDE, ids=str)
@pytest.mark.parametrize("temperature", [32.0, 1e4, 1e6])
def test_large_temperatures_in_float32(case, temperature):
    """Distributions are nearly uniform, and T^2 multiplies the rounding error of small differences of logarithms."""
    case = dataclasses.replace(case, temperature=temperature, chunk=7)
    problem = Problem(case, tokens=16, classes=32_000, width=8, dtype=torch.float32)
    found, ignore = problem.fused(), torch.zeros(16, dtype=torch.bool)
    scores = F.linear(*(tensor.detach().double() for tensor in problem.student))
    exact = teacher_loss(scores.log_softmax(-1), problem.log_teacher, ignore, case.objective)
    exact = torch.where(problem.teacher_weight > 0, exact, 0.0)
    student = F.linear(*(tensor.detach() for tensor in problem.student)).log_softmax(-1)
    theirs = (
        F.linear(*member).log_softmax(-1)
        if member.bias is not None
        else (member.hidden @ member.weight.t()).log_softmax(-1)
        for member in problem.members
    )
    mixed = mix_log_probs(temper(their, temperature) for their in theirs)
    plain = torch.where(problem.teacher_weight > 0, teacher_loss(student, mixed, ignore, case.objective), 0.0)
    assert found.teacher.dtype == plain.dtype == torch.float32
    # The rounding error of float64 remains: 1e-15 T^2.
    tolerance = {"rtol": 2e-6, "atol": 5e-15 * temperature**2 + 1e-5}
    torch.testing.assert_close(found.teacher.double(), exact, **tolerance)
    torch.testing.assert_close(plain.double(), exact, **tolerance)
    # Sums over 32,000 classes in float32 have an error of 1e-5 even without a teacher.
    for mine, whole in zip(problem.gradients(found.loss), problem.gradients(problem.plain()), strict=True):
        assert (mine - whole).norm() <= 5e-5 * whole.norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", PRECISE, ids=str)
def test_half_precision(case, dtype):
    """Only hidden states, matrices and the gradient are rounded, so the loss is exact."""
    problem = Problem(dataclasses.replace(case, chunk=7), tokens=20, classes=300, width=8, dtype=dtype)
    found = problem.fused()
    assert found.loss.dtype == found.nll.dtype == torch.float32
    assert found.loss.item() == pytest.approx(problem.plain().item(), rel=1e-5)
    gradient = logits_gradient(problem)
    unit = torch.finfo(dtype).eps / 2
    wanted, limits = bounds(problem, unit, gradient)
    for mine, tensor, whole, limit in zip(problem.gradients(found.loss), problem.student, wanted, limits, strict=True):
        assert mine.dtype == tensor.dtype == dtype
        assert ((mine.double() - whole).abs() <= limit + 1e-4 * unit).all()


def test_small_gradients_in_float16_survive_under_a_loss_scale():
    """Gradients are multiplied by the loss scale before they are rounded to float16, as fairseq's --fp16 needs."""
    problem = Problem(Case(), tokens=20, classes=300, width=8, dtype=torch.float16)
    problem.label_weight *= 1e-8
    problem.teacher_weight *= 1e-8
    wanted, limits = bounds(problem, 2.0**-11, 1024 * logits_gradient(problem))
    unscaled = problem.gradients(problem.fused().loss)
    scaled = problem.gradients(1024 * problem.fused().loss)
    for small, mine, whole, limit in zip(unscaled, scaled, wanted, limits, strict=True):
        # Half the spacing of the smallest float16 numbers.
        assert ((mine.double() - whole).abs() <= limit + 2.0**-25).all()
        assert mine.count_nonzero() > 2 * small.count_nonzero()


@pytest.mark.parametrize("size", [1e3, 1e5, 1e-7])
def test_weights_of_any_size_in_float16(size):
    """Only the proportions of weights matter in `seq_kd`, so their size may be anything."""
    problem = Problem(Case(k=4), tokens=20, classes=300, width=8, dtype=torch.float16)
    wanted, limits = bounds(problem, 2.0**-11, logits_gradient(problem))
    problem.label_weight *= size
    problem.teacher_weight *= size
    for mine, whole, limit in zip(problem.gradients(problem.fused().loss / size), wanted, limits, strict=True):
        assert ((mine.double() - whole).abs() <= limit + 2.0**-25).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", [Case(alpha=0.1), Case("reverse_kl", 2.0), Case(k=8, cached=True)], ids=str)
def test_half_precision_is_no_worse_than_the_plain_form(case, dtype):
    problem = Problem(dataclasses.replace(case, chunk=50), tokens=100, classes=1000, width=16, dtype=dtype)
    gradient = 1024 * logits_gradient(problem)
    exact, _ = bounds(problem, 0, gradient)
    fused = problem.gradients(1024 * problem.fused().loss)
    plain = problem.gradients(1024 * problem.plain(dtype))
    for mine, theirs, whole in zip(fused, plain, exact, strict=True):
        ours, others = ((found.double() - whole).square().mean().sqrt().item() for found in (mine, theirs))
        assert ours <= 1.02 * others, (ours, others)


def test_mixed_precision():
    """Under autocast, hidden states are bfloat16 and the output matrix is float32. Its gradient is not rounded."""
    problem = Problem(Case(alpha=0.1, chunk=7), tokens=20, classes=300, width=8, dtype=torch.float32)
    hidden, weight, bias = problem.student
    layer = torch.nn.Linear(8, 8, bias=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = layer(hidden)
        problem.student = Projection(states, weight, bias)
        loss = problem.fused().loss
    assert states.dtype == torch.bfloat16 and loss.dtype == torch.float32
    loss.backward()
    assert weight.grad.dtype == bias.grad.dtype == layer.weight.grad.dtype == torch.float32

    rounded = [tensor.detach().bfloat16() for tensor in (states, weight, bias)]
    problem.student = Projection(*rounded)
    assert loss.item() == pytest.approx(problem.plain().item(), rel=1e-5)
    wanted, limits = bounds(problem, 2.0**-9, logits_gradient(problem))
    for mine, whole, limit in zip((weight.grad, bias.grad), wanted[1:], limits[1:], strict=True):
        assert ((mine.double() - whole).abs() <= limit).all()
    assert layer.weight.grad.any() and layer.weight.grad.isfinite().all()


def test_autocast_changes_nothing_in_float32():
    problem = Problem(Case(k=4), dtype=torch.float32)
    wanted = problem.fused().loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(problem.fused().loss, wanted)


# Memory.


class Memory(TorchDispatchMode):
    """Record the bytes that operations allocate: the largest tensor, and the peak of all live tensors."""

    def __init__(self):
        super().__init__()
        self.largest = self.alive = self.peak = 0
        self._known = weakref.WeakSet()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, torch.Tensor):
                self._known.add(tensor.untyped_storage())  # allocated before the recording
        found = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, torch.Tensor) and (storage := tensor.untyped_storage()) not in self._known:
                self._known.add(storage)
                size = storage.nbytes()
                self.largest, self.alive = max(self.largest, size), self.alive + size
                self.peak = max(self.peak, self.alive)
                weakref.finalize(storage, self._free, size)
        return found

    def _free(self, size):
        self.alive -= size


@pytest.mark.parametrize(
    "case", [Case(None, alpha=0.1), *PRECISE, Case(members=3, temperature=2.0), Case(temperature=64.0)], ids=str
)
def test_no_tensor_of_tokens_by_vocabulary(case, monkeypatch):
    """In forward and backward together, the peak is under a third of such a tensor, without the gradients."""
    monkeypatch.setattr(fused, "CHUNK_BYTES", {"cpu": (0, 2**30)})  # no minimum, as with a large batch
    monkeypatch.setattr(fused, "SMALL_BATCH", 0)
    monkeypatch.setattr(projection, "BLOCK", 96)  # in proportion to the classes, as for 32,000
    tokens, classes, width = 960, 1500, 16
    problem = Problem(dataclasses.replace(case, chunk=None), tokens, classes, width, dtype=torch.float32)
    arguments = problem.arguments()
    with Memory() as memory:
        problem.gradients(fused_loss(**arguments).loss)
    whole, gradients = 4 * tokens * classes, 4 * (tokens * width + classes * width + classes)
    assert 0 < memory.largest <= 0.2 * whole
    # A larger share if distributions are float64.
    share = 0.3 if case.temperature < 16 else 0.5
    assert memory.peak <= gradients + share * whole, (memory.peak - gradients) / whole
    with Memory() as memory:
        problem.gradients(problem.plain(torch.float32))
    assert memory.peak >= 2 * whole


@pytest.mark.parametrize("block", [4, 100])
@pytest.mark.parametrize("name", ["forward_kl", "jensen_shannon", "total_variation"])
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_teacher_with_fewer_classes_gives_the_last_ones_no_probability(
    monkeypatch, block, name, members, temperature
):
    """As a bilingual teacher, which has no language tokens. With blocks of 4, the last block has no class of it."""
    monkeypatch.setattr(projection, "BLOCK", block)
    chance = torch.Generator().manual_seed(1)
    hidden, weight, bias = (torch.randn(shape, generator=chance).double() for shape in ((6, 5), (9, 5), (9,)))
    teachers = [
        Projection(*(torch.randn(shape, generator=chance).double() for shape in ((6, 3), (8, 3), (8,))))
    ] * members
    target = torch.randint(9, (6,), generator=chance)
    weights = torch.rand(2, 6, generator=chance)
    objective = Objective(divergence(name), temperature)
    wanted = [each.clone().requires_grad_() for each in (hidden, weight, bias)]
    logits = F.linear(*wanted)
    p_t = torch.cat([(F.linear(*teachers[0]) / temperature).softmax(-1), torch.zeros(6, 1)], 1)
    p_s = (logits / temperature).softmax(-1)
    if name == "forward_kl":
        value = (p_t[:, :8] * (p_t[:, :8] / p_s[:, :8]).log()).sum(-1)
    elif name == "total_variation":
        value = 0.5 * (p_t - p_s).abs().sum(-1)
    else:
        mean = (p_t + p_s) / 2
        of_teacher = (p_t[:, :8] * (p_t[:, :8] / mean[:, :8]).log()).sum(-1)
        value = 0.5 * of_teacher + 0.5 * (p_s * (p_s / mean).log()).sum(-1)
    nll = F.cross_entropy(logits, target, reduction="none")
    loss = (weights[0] * nll + weights[1] * temperature**2 * value).sum()
    loss.backward()
    student = Projection(*(each.clone().requires_grad_() for each in (hidden, weight, bias)))
    found = fused_loss(student, target, weights[0], teacher=teachers, teacher_weight=weights[1], objective=objective)
    found.loss.backward()
    assert found.loss.item() == pytest.approx(loss.item(), rel=1e-9)
    for mine, theirs in zip(student, wanted, strict=True):
        assert torch.allclose(mine.grad, theirs.grad, rtol=1e-8, atol=1e-10)
