"""Tests of the peak memory of a step, by hand."""

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
        kept.append(torch.empty(1000))  # 6,000 with the result of 4,000
        third = torch.empty(250)  # 7,000, 3,000
        del second, third

    assert _memory.peak(step, lambda: kept, CPU) == (6000, 7000)


def test_a_result_may_reuse_the_address_of_a_temporary():
    kept = []

    def step():
        for _ in range(5):
            temporary = torch.empty(1000)
            del temporary
        kept.append(torch.empty(1000))  # most likely at the address of a temporary
        torch.empty(10)

    assert _memory.peak(step, lambda: kept, CPU) == (4000, 4040)


def test_earlier_allocations_do_not_count():
    before = [torch.empty(5000)]

    def step():
        torch.empty(1000)
        before.clear()
        torch.empty(2000)

    assert _memory.peak(step, lambda: [], CPU) == (8000, 8000)


def test_releases_of_earlier_allocations_are_skipped(monkeypatch):
    """The profiler reports a wrong size for address 7, which another tensor had in an earlier profile."""
    events = [(1, 4000, 0), (1, -4000, 0), (7, -2048, 0), (1, 8000, 0), (9, 512, 1)]
    monkeypatch.setattr(_memory, "_events", lambda found: events)
    assert _memory.peak(lambda: None, lambda: [], CPU) == (8000, 8000)


def test_counts_the_backward_pass():
    x = torch.randn(10_000, requires_grad=True)

    def step():
        # Forward: x * 2 and its exp. Backward: the exp and its product with 1; then the product and the gradient of x.
        (x * 2).exp().sum().backward()

    net, gross = _memory.peak(step, lambda: [x.grad], CPU)
    assert 80_000 <= net <= gross <= 80_000 + FEW


@pytest.mark.parametrize("size", [10_000, 40_000])
def test_counts_temporaries_of_an_operator(size):
    x = torch.randn(10, size // 10)
    # exp(x - max) is a temporary; only its sums leave the operator.
    net, _ = _memory.peak(lambda: x.logsumexp(-1), lambda: [], CPU)
    assert net >= 4 * size
