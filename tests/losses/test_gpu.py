"""The fused loss on a stand-in for a GPU: torch's device "meta", which has tensors without data.

Operations that mix its tensors with those of the CPU fail. So do operations that make the CPU wait for a result or its
size.
"""

from __future__ import annotations

import contextlib

import pytest
import torch

from fairseq_lskd.losses import Objective, Projection, TokenLosses, TopK, divergence, fused_loss

N, K, D = 70, 50, 8
THERE = torch.device("meta")
OBJECTIVES = {
    "forward_kl": Objective(),
    "T=2": Objective(temperature=2.0),
    "reverse_kl": Objective(divergence("reverse_kl")),
    "jensen_shannon": Objective(divergence("jensen_shannon")),
    "total_variation": Objective(divergence("total_variation")),
    "top 8": Objective(top_k=8),
    "top 8, renormalised": Objective(top_k=8, rest="renormalise"),
    "ranking 5": Objective(ranking=5),
    "top 8, ranking 5": Objective(top_k=8, ranking=5),
}


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch):
    """Autocast does not support "meta"."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, device=THERE, dtype=dtype)


def projection(dtype: torch.dtype, width: int = D) -> Projection:
    return Projection(*(empty(rows, width, dtype=dtype).requires_grad_() for rows in (N, K)))


def teacher(name: str, dtype: torch.dtype) -> list[Projection] | TopK | None:
    if name == "cached":
        return TopK(empty(N, 8, dtype=torch.int64), empty(N, 8), empty(N))
    return [projection(dtype, width) for width in (12, 6)[: {"none": 0, "one": 1, "two": 2}[name]]] or None


def loss(objective: Objective, name: str, dtype: torch.dtype, skip: bool, prior: bool = False):
    student, members = projection(dtype), teacher(name, dtype)
    target, each, shares = empty(N, dtype=torch.int64), empty(N), empty(K) if prior else None
    options = {"label_smoothing": 0.1, "prior": shares, "teacher": members, "objective": objective, "guess": True}
    found = fused_loss(student, target, each, **options, teacher_weight=each if members else None, skip=skip, chunk=32)
    found.loss.backward()
    return student, found


@pytest.mark.parametrize("prior", [False, True], ids=["uniform", "prior"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_everything_stays_on_the_device_and_nothing_waits_for_it(name, prior):
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for teachers in ("none", "one", "two", "cached"):
            student, found = loss(OBJECTIVES[name], teachers, dtype, skip=False, prior=prior)
            assert isinstance(found, TokenLosses)
            gradients = (student.hidden.grad, student.weight.grad)
            assert {part.device for part in (*found, *gradients)} == {THERE}
            assert {part.dtype for part in gradients} == {dtype}


def test_skip_waits_for_the_device():
    """This is why the criterions use `skip` on a GPU only with --kd-select."""
    with pytest.raises(NotImplementedError, match="nonzero"):
        loss(Objective(), "one", torch.float32, skip=True)
