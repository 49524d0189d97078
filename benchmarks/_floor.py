"""The least time that a form of the loss can take on this machine, from what the machine is measured to do.

A form multiplies matrices and moves bytes. Its products at the rate of one large product, and the bytes that no form
can avoid (each input read once, each gradient written once) at the bandwidth of a large copy, give two times; the
larger is the floor. The products alone, at their own shapes, are measured too: what lies between them and the floor is
not to be had by another way to write the loss.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from _forms import Problem

#: How often a form projects the student's and the teacher's hidden states. Others do each once.
TIMES = {"fused_top16": (1, 0), "fused_ls": (1, 0), "fairseq_ls": (1, 0), "rayeren_top4": (1, 0), "tie_kd_x3": (3, 3)}
WARM_UP = 3


class Ceilings(NamedTuple):
    """What the machine does at most."""

    rate: float  #: operations a second, of a large matrix product
    bandwidth: float  #: bytes a second, read and written, of a large copy


class Floor(NamedTuple):
    """Seconds; see above."""

    products: float
    bytes: float

    @property
    def seconds(self) -> float:
        return max(self)


def measure(dtype: torch.dtype, device: torch.device, size: int = 8192, copied: int = 2**31) -> Ceilings:
    """The ceilings for one number format, on random data.

    Args:
        size: of the square matrices; copied: bytes of what is copied, several times the cache.
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
    """Float32 products on a GPU's matrix units, in a shorter format."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def floor(
    form: str, tokens: int, vocab: int, student_width: int, teacher_width: int, itemsize: int, ceilings: Ceilings
) -> Floor:
    """The floor of a form, by its name in _forms.py; itemsize: bytes of a number of the hidden states."""
    student, teacher = TIMES.get(form, (1, 1))
    # The student's logits, and both gradients; the teacher's logits.
    operations = 2 * tokens * vocab * (3 * student * student_width + teacher * teacher_width)
    # The student's hidden states and matrix are read, and gradients of their size written.
    numbers = 2 * (tokens + vocab) * student_width + (tokens + vocab) * teacher_width * bool(teacher)
    return Floor(operations / ceilings.rate, itemsize * numbers / ceilings.bandwidth)


def products_alone(problem: Problem) -> float:
    """Seconds of a form's products without anything between them, each into memory that is there already.

    The teacher's logits, the student's, and the gradients of its hidden states and its matrix.
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
    """Median of some repeats, after a warm-up."""
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
