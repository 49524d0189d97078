"""TIE-KD's ranking loss: its definition, examples by hand, and when it is 0."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ranking, slope, softmax

from fairseq_lskd.losses import ranking_loss, top_k

NUMBERS = st.integers(-80, 80).map(lambda number: number / 10)
ROWS = st.integers(2, 8).flatmap(lambda k: st.tuples(*[st.lists(NUMBERS, min_size=k, max_size=k, unique=True)] * 2))


def loss_of(student, teacher, k):
    """Compute the ranking loss from the student's probabilities and the teacher's log-probabilities, `[..., K]`."""
    theirs, ours = top_k(teacher, k), student.detach().topk(k, -1).indices
    return ranking_loss(theirs.ids, theirs.log_probs, ours, student.gather(-1, ours), student.gather(-1, theirs.ids))


@pytest.mark.parametrize(
    ("q", "k", "wanted"),
    [
        # The teacher ranks the classes 0, 1, 2, 3.
        ((0.4, 0.3, 0.2, 0.1), 2, 0.0),
        # 1 is before 0: it counts in the first sum, and as a pair in the second.
        ((0.3, 0.4, 0.2, 0.1), 2, 0.1 + 0.1),
        # The student's best two are the teacher's worst: pairs (0, 2), (0, 3), (1, 2), (1, 3). 0 and 1 are equal.
        ((0.1, 0.1, 0.5, 0.3), 2, 0.4 + 0.2 + 0.4 + 0.2),
        # Class 1 is before 0 (0.2). The pairs out of order are (0, 1), (0, 3), (2, 3).
        ((0.2, 0.4, 0.1, 0.3), 3, 0.2 + 0.2 + 0.1 + 0.2),
        ((0.1, 0.2, 0.3, 0.4), 1, 0.3),
    ],
)
def test_pairs_out_of_order_by_hand(q, k, wanted):
    teacher = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64).log()
    found = loss_of(torch.tensor(q, dtype=torch.float64), teacher, k)
    assert found.item() == pytest.approx(wanted, abs=1e-12)


def test_classes_with_equal_teacher_probability():
    """Pairs of equal probability do not count. Only the first sum remains, 0.5 - 0.3."""
    equal = torch.tensor([0.4, 0.4]).log()
    found = ranking_loss(
        torch.tensor([0, 1]), equal, torch.tensor([1, 0]), torch.tensor([0.5, 0.3]), torch.tensor([0.3, 0.5])
    )
    assert found.item() == pytest.approx(0.2)


@pytest.mark.parametrize("k", [1, 2, 5, 7])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_value_and_gradient_are_the_definition(k, dtype, tolerance):
    logits = torch.randn(4, 7, dtype=dtype, requires_grad=True)
    teacher = torch.randn(4, 7, dtype=dtype).log_softmax(-1)
    found = loss_of(logits.softmax(-1), teacher, k)
    (3.7 * found.sum()).backward()
    for n, row in enumerate(logits.detach().double().tolist()):
        log_p = teacher[n].double().tolist()
        assert found[n].item() == pytest.approx(ranking(log_p, softmax(row), k), rel=tolerance, abs=tolerance)
        wanted = slope(lambda z, p=log_p: ranking(p, softmax(z), k), row)
        assert logits.grad[n].tolist() == pytest.approx([3.7 * x for x in wanted], rel=tolerance, abs=tolerance)
    assert found.any()


def test_gradients_of_the_ranking_pass_gradcheck():
    logits, teacher = (
        torch.randn(3, 6, dtype=torch.float64, requires_grad=True),
        torch.randn(3, 6, dtype=torch.float64).log_softmax(-1),
    )
    assert torch.autograd.gradcheck(lambda z: loss_of(z.softmax(-1), teacher, 4), logits)


@given(ROWS, st.data())
@settings(max_examples=40)
def test_never_negative_and_zero_with_the_same_order(rows, data):
    ours, theirs = (torch.tensor(row, dtype=torch.float64) for row in rows)
    k = data.draw(st.integers(1, len(rows[0])))
    assert loss_of(ours.softmax(-1), theirs.log_softmax(-1), k).item() >= 0
    # Another distribution with the same order.
    assert loss_of((theirs / 3).softmax(-1), theirs.log_softmax(-1), k).item() == 0


def test_only_the_order_of_the_teacher_matters():
    student = torch.randn(5, 8).softmax(-1)
    teacher = torch.randn(5, 8)
    found = [loss_of(student, (scale * teacher).log_softmax(-1), 4) for scale in (0.5, 3)]
    assert torch.equal(*found) and found[0].any()


def test_extreme_probabilities_give_finite_gradients():
    logits = torch.tensor([[1e4, 0.0, 0.0, -1e4]], requires_grad=True)
    found = loss_of(logits.softmax(-1), torch.tensor([[-3.0, -2.0, -1.0, -0.5]]).log_softmax(-1), 3)
    found.sum().backward()
    # Class 0 is not among the teacher's top three, and has all of the student's probability.
    assert found.item() == 3 and logits.grad.isfinite().all()
