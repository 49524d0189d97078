"""The peak of a step, counted by hand."""

import _memory
import pytest
import torch

CPU = torch.device("cpu")
#: Scalars that autograd makes on the way.
FEW = 64


def test_results_count_in_the_gross_peak_only():
    kept = []

    def step():
        first = torch.empty(1000)  # 4,000 bytes
        second = torch.empty(500)  # 6,000
        del first  # 2,000
        kept.append(torch.empty(1000))  # 6,000, of which 4,000 are the result
        third = torch.empty(250)  # 7,000, 3,000
        del second, third

    assert _memory.peak(step, lambda: kept, CPU) == (6000, 7000)


def test_a_result_at_the_address_of_a_temporary_is_one():
    kept = []

    def step():
        for _ in range(5):
            temporary = torch.empty(1000)
            del temporary
        kept.append(torch.empty(1000))  # most likely where the temporaries were
        torch.empty(10)

    assert _memory.peak(step, lambda: kept, CPU) == (4000, 4040)


def test_what_was_there_before_does_not_count():
    before = [torch.empty(5000)]

    def step():
        torch.empty(1000)
        before.clear()
        torch.empty(2000)

    assert _memory.peak(step, lambda: [], CPU) == (8000, 8000)


def test_a_release_of_what_was_there_before_has_a_stale_size(monkeypatch):
    """Address 7 was another tensor's in an earlier profile, which was released outside of it."""
    events = [(1, 4000, 0), (1, -4000, 0), (7, -2048, 0), (1, 8000, 0), (9, 512, 1)]
    monkeypatch.setattr(_memory, "_events", lambda found: events)
    assert _memory.peak(lambda: None, lambda: [], CPU) == (8000, 8000)


def test_counts_the_backward_pass():
    x = torch.randn(10_000, requires_grad=True)

    def step():
        # Forward: x * 2 and its exp. Backward: the exp and its product with 1; then that product and x's gradient.
        (x * 2).exp().sum().backward()

    net, gross = _memory.peak(step, lambda: [x.grad], CPU)
    assert 80_000 <= net <= gross <= 80_000 + FEW


@pytest.mark.parametrize("size", [10_000, 40_000])
def test_counts_what_an_operator_needs_inside(size):
    x = torch.randn(10, size // 10)
    # exp(x - max), of which only the sums leave the operator.
    net, _ = _memory.peak(lambda: x.logsumexp(-1), lambda: [], CPU)
    assert net >= 4 * size
