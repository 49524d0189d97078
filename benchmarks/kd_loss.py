#!/usr/bin/env python
"""Measure time and peak memory of the losses with projections, forward and backward.

The forms are those of this package, fairseq's own loss, and the losses of other systems, written from their formulas
(see _forms.py). The matrix products alone are a lower bound. All take turns, in a random order per round, so that noise
of the machine affects all of them. Compare numbers within a run. Peak memory is counted, not sampled, in units of one
float32 [tokens x vocabulary] tensor.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _memory  # before torch
import torch
from _common import Others, command, doubt, four, spread, versions, write_rows
from _forms import FORMS, Problem, make_problem, products
from tabulate import tabulate
from torch import Tensor
from tqdm import tqdm

from fairseq_lskd.machine import cores, machine

EXAMPLES = """examples:
  python benchmarks/kd_loss.py --json kd_loss.json
  python benchmarks/kd_loss.py --tokens 2048 --vocab 32768 --forms fused plain fairseq_ls --repeats 21
  python benchmarks/kd_loss.py --device cuda --tokens 2048 8192 --dtype float32 bfloat16 --json kd_loss-cuda.json
"""

PRODUCTS = "products"
DTYPES = ("float32", "bfloat16", "float16")
#: Forms that the times of all forms are compared with.
BASELINES = ("plain", "fairseq_ls")
WARM_UP = 2


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    args = parse(argv)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    story = {"machine": machine(), "versions": versions(), "command": command()}
    cases = list(itertools.product(args.dtype, args.tokens, args.vocab))
    steps = len(args.forms) * (args.repeats + WARM_UP) + args.repeats
    rows = []
    with tqdm(
        total=steps * sum(tokens * vocab for _, tokens, vocab in cases),
        desc="measuring",
        bar_format="{desc}: {percentage:3.0f}% |{bar}| {elapsed}, {remaining} left",
        mininterval=1,
    ) as bar:
        for dtype, tokens, vocab in cases:
            problem = make_problem(
                tokens,
                vocab,
                args.student_width,
                args.teacher_width,
                device=device,
                dtype=getattr(torch, dtype),
                teacher_dtype=getattr(torch, args.teacher_dtype or dtype),
                temperature=args.temperature,
            )
            case = {
                "device": device.type,
                "dtype": dtype,
                "teacher_dtype": args.teacher_dtype or dtype,
                "tokens": tokens,
                "vocab": vocab,
                "student_width": args.student_width,
                "teacher_width": args.teacher_width,
                "temperature": args.temperature,
                "threads": args.threads,
                "repeats": args.repeats,
            }
            others = Others()
            found = measure(problem, args.forms, args.repeats, lambda work=tokens * vocab: bar.update(work))
            case["others_cores"] = others.cores()
            rows += [{"impl": name, **case, **numbers, **story} for name, numbers in found.items()]
    if args.json:
        write_rows(args.json, rows)
    print(table(rows))
    return rows


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tokens", type=int, nargs="+", default=[512, 2048], metavar="N", help="tokens per step (default: 512 2048)"
    )
    parser.add_argument(
        "--vocab",
        type=int,
        nargs="+",
        default=[8192, 32768],
        metavar="K",
        help="vocabulary sizes (default: 8192 32768)",
    )
    parser.add_argument(
        "--student-width", type=int, default=512, metavar="D", help="width of the student (default: %(default)s)"
    )
    parser.add_argument(
        "--teacher-width", type=int, default=1024, metavar="D", help="width of the teacher (default: %(default)s)"
    )
    parser.add_argument(
        "--dtype",
        nargs="+",
        choices=DTYPES,
        help="dtypes of hidden states and matrices (default: float32; on a GPU float32 and bfloat16)",
    )
    parser.add_argument(
        "--teacher-dtype", choices=DTYPES, help="dtype of the teacher's states and matrix (default: the student's)"
    )
    parser.add_argument(
        "--temperature", type=float, default=1.0, metavar="T", help="distillation temperature (default: %(default)s)"
    )
    parser.add_argument(
        "--device", default="auto", choices=["auto", "cpu", "cuda"], help="auto uses a GPU if there is one (default)"
    )
    parser.add_argument("--repeats", type=int, default=11, metavar="N", help="turns per form (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=cores(), metavar="N", help="CPU threads (default: %(default)s)")
    parser.add_argument(
        "--forms",
        nargs="+",
        choices=list(FORMS),
        metavar="FORM",
        help=f"forms to measure: {', '.join(FORMS)} (default: all; without a C++ compiler, all that need none)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="output file for the rows")
    args = parser.parse_args(argv)
    if args.device == "auto":
        args.device = "cuda" if torch.cuda.is_available() else "cpu"
    on_gpu = args.device == "cuda"
    args.dtype = args.dtype or (["float32", "bfloat16"] if on_gpu else ["float32"])
    args.forms = args.forms or [name for name in FORMS if on_gpu or can_compile() or not name.endswith("_compiled")]
    return args


def can_compile() -> bool:
    """Return whether torch.compile finds a compiler for the CPU."""
    return any(map(shutil.which, ("c++", "g++", "clang++")))


def measure(
    problem: Problem, forms: Sequence[str], repeats: int, done: Callable[[], object]
) -> dict[str, dict[str, Any]]:
    """Measure the forms. Return the numbers of each form by name."""
    steps = {name: (lambda form=FORMS[name]: step(problem, form)) for name in forms}
    device, unit = problem.target.device, 4 * problem.target.numel() * problem.student.weight.size(0)
    peaks = {}
    for name in forms:
        for run in range(WARM_UP):
            clear(problem)
            # Count in the last warm-up run, after one-time allocations.
            if run == WARM_UP - 1:
                peaks[name] = _memory.peak(steps[name], lambda: gradients(problem), device)
            else:
                steps[name]()
            done()
    steps[PRODUCTS] = lambda: products(problem)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    order = random.Random(1)
    for _ in range(repeats):
        for name in order.sample(list(steps), len(steps)):
            clear(problem)
            seconds[name].append(timed(steps[name], device))
            done()
    found = {}
    for name in forms:
        found[name] = spread("seconds", seconds[name])
        for baseline in (*BASELINES, PRODUCTS):
            if baseline in seconds:
                ratios = [a / b for a, b in zip(seconds[name], seconds[baseline], strict=True)]
                found[name] |= spread(f"time_to_{baseline}", ratios)
        found[name]["peak_units"] = four(peaks[name].net / unit)
        found[name]["peak_units_gross"] = four(peaks[name].gross / unit)
    clear(problem)
    return found


def step(problem: Problem, form: Callable[[Problem], Tensor]) -> None:
    form(problem).backward()


def gradients(problem: Problem) -> list[Tensor]:
    return [tensor.grad for tensor in (problem.student.hidden, problem.student.weight)]


def clear(problem: Problem) -> None:
    for tensor in (problem.student.hidden, problem.student.weight):
        tensor.grad = None


def timed(run: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def table(rows: Sequence[dict[str, Any]], style: str = "github") -> str:
    """Format rows as one table per case."""
    texts = []
    key = ("device", "dtype", "tokens", "vocab")
    for case, group in itertools.groupby(rows, key=lambda row: tuple(row[name] for name in key)):
        members = list(group)
        lines = [
            {
                "form": row["impl"],
                "ms": 1000 * row["seconds_median"],
                "quartiles": " - ".join(f"{1000 * value:.1f}" for value in row["seconds_quartiles"]),
                **{
                    f"x {baseline}": row[f"time_to_{baseline}_median"]
                    for baseline in (*BASELINES, PRODUCTS)
                    if f"time_to_{baseline}_median" in row
                },
                "peak": row["peak_units"],
                "with gradients": row["peak_units_gross"],
            }
            for row in members
        ]
        device, dtype, tokens, vocab = case
        formats = ["", ".1f", "", *[".2f"] * (len(lines[0]) - 3)]
        body = tabulate(
            lines, headers="keys", tablefmt=style, floatfmt=formats, colalign=("left", *["right"] * (len(lines[0]) - 1))
        )
        texts.append(f"{tokens:,} tokens x {vocab:,} types, {dtype}, {device}{doubt(members)}\n\n{body}")
    return "\n\n".join(texts)


if __name__ == "__main__":
    main()
