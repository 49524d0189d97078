"""A teacher's k most probable classes, and the probability of the rest."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import best, coarsened, log_softmax, log_sum

from fairseq_lskd.losses import DIVERGENCES, RESTS, TopK, divergence, top_k
from fairseq_lskd.losses.topk import student_classes, teacher_classes, without_missing

INFINITE = math.inf
NUMBERS = st.floats(-30, 30, allow_nan=False)
ROWS = st.integers(2, 8).flatmap(lambda k: st.tuples(*[st.lists(NUMBERS, min_size=k, max_size=k)] * 2))


def log_probs(rows, dtype=torch.float64):
    return torch.tensor(rows, dtype=dtype).log_softmax(-1)


def between(name, student, teacher):
    """Compute a divergence without ignored tokens."""
    return divergence(name)(student, teacher, torch.zeros(student.shape[:-1], dtype=torch.bool))


def test_literal():
    """p = (1/8, 1/2, 1/8, 1/4): the top two are the second and the fourth class, the rest has 1/4."""
    found = top_k(torch.tensor([0.125, 0.5, 0.125, 0.25]).log(), 2)
    assert found.ids.tolist() == [1, 3]
    assert found.log_probs.exp().tolist() == pytest.approx([0.5, 0.25])
    assert found.rest.exp().item() == pytest.approx(0.25)


@given(ROWS.map(lambda rows: rows[0]), st.data())
@settings(max_examples=40)
def test_top_k_has_the_sorted_values_and_all_probability(row, data):
    k = data.draw(st.integers(1, len(row)))
    found = top_k(log_probs([row]), k)
    log_p = log_softmax(row)
    wanted = coarsened(log_p, best(row, k))
    assert len({*found.ids[0].tolist()}) == k
    assert [log_p[i] for i in found.ids[0].tolist()] == pytest.approx(wanted[:-1], abs=1e-12)
    assert found.log_probs[0].tolist() == pytest.approx(wanted[:-1], abs=1e-12)
    assert found.rest.item() == pytest.approx(wanted[-1], rel=1e-12) or found.rest.item() == wanted[-1]
    total = log_sum([*found.log_probs[0].tolist(), found.rest.item()])
    assert total == pytest.approx(0, abs=1e-12)


def test_the_rest_of_all_classes_is_empty():
    assert top_k(torch.randn(3, 5).log_softmax(-1), 5).rest.tolist() == [-INFINITE] * 3


@pytest.mark.parametrize("k", [0, -1, 6])
def test_k_out_of_range(k):
    with pytest.raises(ValueError, match=f"k is {k}, expected 1 to 5, the number of classes"):
        top_k(torch.randn(3, 5).log_softmax(-1), k)


def test_the_probability_of_the_rest_does_not_cancel():
    """In float32, 1 - p would be 0 if the first class has all but 1e-9 of the probability."""
    found = top_k(torch.tensor([0.0, -21.0, -22.0]).log_softmax(-1), 1)
    assert found.log_probs.exp().item() == 1
    assert found.rest.item() == pytest.approx(log_softmax([0.0, -21.0, -22.0])[1] + math.log1p(math.exp(-1)), rel=1e-6)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_first_is_the_top_k_of_a_smaller_k(k):
    whole = torch.randn(3, 6, dtype=torch.float64).log_softmax(-1)
    found, wanted = top_k(whole, 4).first(k), top_k(whole, k)
    assert torch.equal(found.ids, wanted.ids) and torch.equal(found.log_probs, wanted.log_probs)
    torch.testing.assert_close(found.rest, wanted.rest)


def test_first_keeps_tokens_without_a_teacher():
    missing = TopK(torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 3), torch.tensor([math.nan]))
    assert missing.first(2).rest.isnan().all() and missing.first(3).rest.isnan().all()


def test_rows_by_slices_and_by_indices():
    whole = top_k(torch.randn(5, 6).log_softmax(-1), 2)
    for rows in (slice(1, 3), torch.tensor([4, 0])):
        for found, wanted in zip(whole.rows(rows), whole, strict=True):
            assert torch.equal(found, wanted[rows])


def test_scatter_puts_tokens_at_the_mask_and_no_teacher_elsewhere():
    counts = torch.tensor([[True, False, True], [False, True, False]])
    whole = top_k(torch.randn(3, 6).log_softmax(-1), 2)
    found = whole.scatter(counts)
    assert found.ids.shape == (2, 3, 2) and found.log_probs.shape == (2, 3, 2) and found.rest.shape == (2, 3)
    for scattered, one in zip(found, whole, strict=True):
        assert torch.equal(scattered[counts], one) and scattered.dtype == one.dtype
    assert torch.equal(found.rest.isnan(), ~counts)


def test_without_missing():
    """Tokens without a teacher get finite values and distinct classes."""
    rest = torch.tensor([-1.0, math.nan])
    given_ = TopK(torch.tensor([[3, 1], [0, 0]]), torch.tensor([[-1.0, -2.0], [math.nan, -INFINITE]]), rest)
    found, known = without_missing(given_)
    assert known.tolist() == [True, False]
    assert found.ids.tolist() == [[3, 1], [0, 1]]
    assert torch.equal(found.log_probs[0], given_.log_probs[0]) and found.rest[0] == -1
    assert all(member.isfinite().all() for member in found)


def test_a_broken_teacher_is_not_a_missing_one():
    broken = top_k(torch.full((2, 6), math.nan), 3)
    found, known = without_missing(broken)
    assert known.all() and found.log_probs.isnan().all()
    student = torch.randn(2, 6).log_softmax(-1)
    for name in DIVERGENCES:
        for rest in RESTS:
            loss = between(name, student_classes(student, found.ids), teacher_classes(found, rest))
            assert loss.isnan().all(), (name, rest)


@pytest.mark.parametrize("k", [1, 3, 6])
@pytest.mark.parametrize("rest", RESTS)
def test_classes_are_the_merged_distributions(k, rest):
    theirs, ours = torch.randn(4, 6, dtype=torch.float64), torch.randn(4, 6, dtype=torch.float64)
    teacher = top_k(theirs.log_softmax(-1), k)
    found_t = teacher_classes(teacher, rest)
    found_s = student_classes(ours.log_softmax(-1), teacher.ids)
    for n in range(4):
        ids = best(theirs[n].tolist(), k)
        wanted = coarsened(log_softmax(theirs[n].tolist()), ids)
        if rest == "renormalise":
            wanted = [*log_softmax(wanted[:-1]), -INFINITE]
        assert found_t[n].tolist() == pytest.approx(wanted, abs=1e-12)
        wanted = coarsened(log_softmax(ours[n].tolist()), ids)
        assert found_s[n].exp().tolist() == pytest.approx([math.exp(x) for x in wanted], abs=1e-12)
    assert found_t.exp().sum(-1).tolist() == pytest.approx([1] * 4)
    assert found_s.exp().sum(-1).tolist() == pytest.approx([1] * 4)


def test_classes_of_the_student_have_a_finite_gradient_if_all_classes_are_kept():
    """The rest has no class then, but neither its logarithm nor the gradient is NaN."""
    student = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([[2, 0, 1], [0, 1, 2]])
    student_classes(student.log_softmax(-1), ids).exp().square().sum().backward()
    assert student.grad.isfinite().all() and student.grad.any()


@pytest.mark.parametrize("gap", [200.0, 1e4])
def test_the_rest_of_the_student_underflows(gap):
    """The log-probability of the rest is exact although its probability underflows."""
    student = torch.tensor([[gap, 0.0, 0.0, gap]]).log_softmax(-1).requires_grad_()
    found = student_classes(student, torch.tensor([[0, 3]]))
    assert found[0].tolist() == pytest.approx([-math.log(2)] * 2 + [math.log(2) - gap - math.log(2)])
    found.sum().backward()
    # In float32 the log-probability of the rest, and each class's share of it, is exact to 1e-7 of the gap.
    assert student.grad[0].tolist() == pytest.approx([1, 0.5, 0.5, 1], abs=1e-7 * gap)


@pytest.mark.parametrize("name", DIVERGENCES)
@given(ROWS)
@settings(max_examples=25)
def test_the_divergence_grows_with_k_up_to_that_of_all_classes(name, rows):
    """Data processing inequality: merging classes never increases a divergence."""
    ours, theirs = (log_probs([row]) for row in rows)
    whole = between(name, ours, theirs).item()
    last = 0.0
    for k in range(1, theirs.size(-1) + 1):
        teacher = top_k(theirs, k)
        found = between(name, student_classes(ours, teacher.ids), teacher_classes(teacher)).item()
        # This does not hold for adaptive_kl, because merging classes changes its weights.
        assert name == "adaptive_kl" or last - 1e-9 <= found <= whole + 1e-9
        last = found
    assert last == pytest.approx(whole, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", DIVERGENCES)
@given(ROWS.map(lambda rows: rows[0]), st.data())
@settings(max_examples=25)
def test_zero_at_equality_with_the_rest_as_a_class(name, row, data):
    both = log_probs([row])
    teacher = top_k(both, data.draw(st.integers(1, len(row))))
    found = between(name, student_classes(both, teacher.ids), teacher_classes(teacher))
    assert abs(found.item()) < 1e-12
