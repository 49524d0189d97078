"""What a GPU would be asked to do, without one: torch's device "meta" takes its place, whose tensors hold nothing.

An operation on tensors of it and of the CPU fails, and so does every one whose result, or the size of it, the CPU has
to wait for.
"""

from __future__ import annotations

import contextlib

import pytest
import torch

from fairseq_lskd.losses import FusedLoss, Objective, Projection, TopK, divergence, fused_loss

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
    """It has no "meta"."""
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
    student, said = projection(dtype), teacher(name, dtype)
    target, each, shares = empty(N, dtype=torch.int64), empty(N), empty(K) if prior else None
    words = {"label_smoothing": 0.1, "prior": shares, "teacher": said, "objective": objective, "guess": True}
    found = fused_loss(student, target, each, **words, teacher_weight=each if said else None, skip=skip, chunk=32)
    found.loss.backward()
    return student, found


@pytest.mark.parametrize("prior", [False, True], ids=["uniform", "prior"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_all_is_there_and_nothing_waits_for_it(name, prior):
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for said in ("none", "one", "two", "cached"):
            student, found = loss(OBJECTIVES[name], said, dtype, skip=False, prior=prior)
            assert isinstance(found, FusedLoss)
            gradients = (student.hidden.grad, student.weight.grad)
            assert {part.device for part in (*found, *gradients)} == {THERE}
            assert {part.dtype for part in gradients} == {dtype}


def test_finding_the_tokens_that_are_taught_waits():
    """So the criterions do without it on a GPU, unless they select."""
    with pytest.raises(NotImplementedError, match="nonzero"):
        loss(Objective(), "one", torch.float32, skip=True)
