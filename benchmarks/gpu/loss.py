"""Measure time and peak memory of every form of the loss, and lower bounds of the time.

The measurements are those of kd_loss.py at sizes of training on a GPU, with the floor of _floor.py from the same run.
loss-profile.txt has a profile of this package's forms.
"""

from __future__ import annotations

import sys
from typing import Any

import _floor
import kd_loss
import torch
from _common import four
from _forms import FORMS, Problem, make_problem
from torch.profiler import ProfilerActivity, profile

from .stage import Run, stage

WIDTHS = {"student_width": 512, "teacher_width": 1024}
#: Tokens, types, dtype and rounds. The first case is the one with targets.
CASES = [
    (8192, 32_768, "bfloat16", 7),
    (8192, 32_768, "float32", 5),
    (2048, 32_768, "bfloat16", 7),
    (2048, 32_768, "float32", 5),
    (4096, 250_000, "bfloat16", 3),
    (16_384, 32_768, "bfloat16", 3),
    (16_384, 32_768, "float32", 3),
    (4096, 250_000, "float32", 3),
]
REHEARSAL = [(96, 500, "bfloat16", 1), (64, 300, "float32", 1)]
#: Forms of other systems that compute the same: the label's loss, and a divergence of whole distributions.
REFERENCES = [
    "nmt_kd",
    "varungumma",
    "selective_all",
    "selective_global",
    "liger_n4",
    "liger_n16",
    "liger_n16_compiled",
]
#: Cases with compiled forms. They are few, because compiling takes longer than measuring.
COMPILED = CASES[:2]
PROFILED = 3  #: number of profiled steps


def measure(run: Run) -> None:
    ceilings: dict[str, _floor.Ceilings] = {}
    size, copied = (256, 2**22) if run.rehearse else (8192, 2**31)
    for dtype in ("bfloat16", "float32"):
        with run.part(part="ceilings", dtype=dtype):
            found = ceilings[dtype] = _floor.measure(getattr(torch, dtype), run.device, size, copied)
            run.write(part="ceilings", dtype=dtype, rate=four(found.rate), bandwidth=four(found.bandwidth), size=size)
    with run.part(part="ceilings", dtype="tf32"), _floor.tf32():
        run.write(
            part="ceilings", dtype="tf32", rate=four(_floor.product_rate(torch.float32, run.device, size)), size=size
        )
    longest = 0.0
    for tokens, vocab, dtype, repeats in REHEARSAL if run.rehearse else CASES:
        before = run.left
        if before < 1.5 * longest:
            run.write(part="forms", tokens=tokens, vocab=vocab, dtype=dtype, failed="no time was left", ok=True)
            continue
        with run.part(part="forms", tokens=tokens, vocab=vocab, dtype=dtype):
            case(run, tokens, vocab, dtype, repeats, ceilings[dtype])
        longest = max(longest, before - run.left)


def case(run: Run, tokens: int, vocab: int, dtype: str, repeats: int, ceilings: _floor.Ceilings) -> None:
    problem = make_problem(tokens, vocab, *WIDTHS.values(), device=run.device, dtype=getattr(torch, dtype))
    what = {"device": run.device.type, "dtype": dtype, "tokens": tokens, "vocab": vocab, **WIDTHS, "repeats": repeats}
    names = [n for n in FORMS if not n.endswith("_compiled") or (tokens, vocab, dtype, repeats) in COMPILED]
    fit, failed = [], {}
    for name in names:
        if why := _fails(problem, name):
            failed[name] = why
        else:
            fit.append(name)
    alone = _floor.products_alone(problem)
    found = kd_loss.measure(problem, fit, repeats, lambda: None)
    best = min((found[name]["seconds_median"] for name in REFERENCES if name in found), default=None)
    for name in fit:
        numbers = found[name]
        floor = _floor.floor(name, tokens, vocab, *WIDTHS.values(), getattr(torch, dtype).itemsize, ceilings)
        seconds = numbers["seconds_median"]
        run.write(
            part="forms",
            impl=name,
            **what,
            **numbers,
            floor_seconds=four(floor.seconds),
            floor_products_seconds=four(floor.products),
            floor_bytes_seconds=four(floor.bytes),
            products_alone_seconds=four(alone),
            time_to_floor=four(seconds / floor.seconds),
            time_to_best_reference=None if best is None else four(seconds / best),
            peak_units_allocator=_allocated(problem, name),
        )
    for name, why in failed.items():
        run.write(part="forms", impl=name, **what, failed=why)
    if dtype == "bfloat16" and (tokens, vocab) in ((8192, 32_768), REHEARSAL[0][:2]):
        text = "\n\n".join(_profile(problem, name) for name in ("fused", "fused_top16", "plain"))
        (run.out / "loss-profile.txt").write_text(f"{what}\n\n{text}\n", encoding="utf-8")


def _fails(problem: Problem, name: str) -> str | None:
    """Return why a form cannot be measured, for example because memory or a compiler is missing; None if it can."""
    try:
        kd_loss.step(problem, FORMS[name])
        return None
    except torch.OutOfMemoryError:
        return "out of memory"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    finally:
        kd_loss.clear(problem)
        if problem.target.is_cuda:
            torch.cuda.empty_cache()


def _allocated(problem: Problem, name: str) -> float | None:
    """Return the peak memory by the GPU's own allocator, with gradients; the profiler's count is meant for CPUs."""
    if not problem.target.is_cuda:
        return None
    kd_loss.clear(problem)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    kd_loss.step(problem, FORMS[name])
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() - before
    kd_loss.clear(problem)
    return four(peak / (4 * problem.target.numel() * problem.student.weight.size(0)))


def _profile(problem: Problem, name: str) -> str:
    """Return a profile of some steps by kernel."""
    on_gpu = problem.target.is_cuda
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    kd_loss.step(problem, FORMS[name])
    kd_loss.clear(problem)
    with profile(activities=activities) as found:
        for _ in range(PROFILED):
            kd_loss.step(problem, FORMS[name])
            kd_loss.clear(problem)
        if on_gpu:
            torch.cuda.synchronize()
    order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    table = found.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=90)
    return f"{name}, {PROFILED} steps\n{table}"


def targets(rows: list[dict[str, Any]]) -> list[str]:
    """Return one line per missed target, for the rows of the first case."""
    tokens, vocab, dtype, _ = CASES[0]
    for row in rows:
        size = (row.get("impl"), row.get("tokens"), row.get("vocab"), row.get("dtype"))
        if size == ("fused", tokens, vocab, dtype) and "failed" not in row:
            wanted = {"time_to_best_reference": 0.9, "time_to_floor": 1.6, "peak_units": 0.25}
            return [
                f"{name} is {row[name]}, the target is at most {limit}"
                for name, limit in wanted.items()
                if row[name] is None or row[name] > limit
            ]
    return ["the case with targets was not measured"]


if __name__ == "__main__":
    sys.exit(stage("loss", measure))
