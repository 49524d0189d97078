"""A lower bound of the time of a form of the loss on this machine, from measured rates of the machine.

A form multiplies matrices and moves bytes. The floor is the larger of two times: that of its matrix products at the
rate of one large product, and that of the bytes that every form must move (each input is read once, each gradient
written once) at the bandwidth of a large copy. The products alone, at their own shapes, are measured too. No other
implementation of the loss can save the difference between them and the floor.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from _forms import Problem

#: Number of projections of the student's and the teacher's hidden states, for forms in which it is not (1, 1).
TIMES = {"fused_top16": (1, 0), "fused_ls": (1, 0), "fairseq_ls": (1, 0), "rayeren_top4": (1, 0), "tie_kd_x3": (3, 3)}
WARM_UP = 3


class Ceilings(NamedTuple):
    """The maximum rates of the machine."""

    rate: float  #: operations per second of a large matrix product
    bandwidth: float  #: bytes per second, read and written, of a large copy


class Floor(NamedTuple):
    """The two times in seconds."""

    products: float
    bytes: float

    @property
    def seconds(self) -> float:
        return max(self)


def measure(dtype: torch.dtype, device: torch.device, size: int = 8192, copied: int = 2**31) -> Ceilings:
    """Measure the ceilings for a dtype on random data.

    Args:
        dtype: dtype of the matrices.
        device: device to measure.
        size: number of rows of the square matrices.
        copied: number of bytes to copy, several times the cache.
    """
    return Ceilings(product_rate(dtype, device, size), copy_bandwidth(device, copied))


def product_rate(dtype: torch.dtype, device: torch.device, size: int) -> float:
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * size**3 / seconds(lambda: torch.mm(a, b, out=out), device)


def copy_bandwidth(device: torch.device, copied: int) -> float:
    source = torch.randn(copied // 4, device=device)
    target = torch.empty_like(source)
    return 2 * 4 * source.numel() / seconds(lambda: target.copy_(source), device)


@contextlib.contextmanager
def tf32() -> Iterator[None]:
    """Use TF32 for float32 products on a GPU."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def floor(
    form: str, tokens: int, vocab: int, student_width: int, teacher_width: int, itemsize: int, ceilings: Ceilings
) -> Floor:
    """Return the floor of a form of _forms.py. `itemsize` is the size of a number of the hidden states in bytes."""
    student, teacher = TIMES.get(form, (1, 1))
    # The logits of the student, its two gradients, and the logits of the teacher.
    operations = 2 * tokens * vocab * (3 * student * student_width + teacher * teacher_width)
    # The student's hidden states and matrix are read, and gradients of the same sizes are written.
    numbers = 2 * (tokens + vocab) * student_width + (tokens + vocab) * teacher_width * bool(teacher)
    return Floor(operations / ceilings.rate, itemsize * numbers / ceilings.bandwidth)


def products_alone(problem: Problem) -> float:
    """Return the seconds of a form's matrix products alone, with preallocated outputs.

    These are the logits of teacher and student, and the gradients of the student's hidden states and matrix.
    """
    (hidden, weight, _), (theirs, their_weight, _) = problem.student, problem.teacher
    hidden, weight = hidden.detach(), weight.detach()
    logits = torch.empty(len(hidden), len(weight), device=hidden.device, dtype=hidden.dtype)
    said = logits if their_weight.dtype == logits.dtype else torch.empty_like(logits, dtype=their_weight.dtype)
    d_hidden, d_weight = torch.empty_like(hidden), torch.empty_like(weight)

    def run() -> None:
        torch.mm(theirs, their_weight.t(), out=said)
        torch.mm(hidden, weight.t(), out=logits)
        torch.mm(logits, weight, out=d_hidden)
        torch.mm(logits.t(), hidden, out=d_weight)

    return seconds(run, hidden.device)


def seconds(run: Callable[[], object], device: torch.device, repeats: int = 7) -> float:
    """Return the median seconds of several repeats, after a warm-up."""
    found = []
    for repeat in range(WARM_UP + repeats):
        synchronise(device)
        start = time.perf_counter()
        run()
        synchronise(device)
        if repeat >= WARM_UP:
            found.append(time.perf_counter() - start)
    return statistics.median(found)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
