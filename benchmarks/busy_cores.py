#!/usr/bin/env python
"""Compare the fused and the plain loss on idle cores, and on cores that other programs use too.

OpenMP's threads spin by default while they wait for each other. On a core shared with another program, each wait then
takes as long as that program's time slice. Passive threads (OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0, which this
package sets for lskd and fairseq's commands) sleep instead. Each policy has its own process, because libgomp reads the
variables only once. The processes take turns with one step of each form, in a random order per round. The other
program is one busy loop per core.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch  # before fairseq: importing fairseq would set the policy
from _common import command, spread, versions, write_rows
from tabulate import tabulate
from tqdm import tqdm

from fairseq_lskd.compat.openmp import PASSIVE, VARIABLES
from fairseq_lskd.machine import cores, machine

EXAMPLES = """examples:
  python benchmarks/busy_cores.py --json benchmarks/results/busy_cores.json
  python benchmarks/busy_cores.py --tokens 512 --vocab 8192 --rounds 11
"""

POLICIES = {"default": {}, "passive": PASSIVE}
FORMS = ("fused", "plain")
NEIGHBOURS = ("idle", "busy")
#: Target for passive threads: maximum ratio of fused / plain on busy cores to fused / plain on idle cores.
TARGET = 1.1


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    args = parse(argv)
    story = {"machine": machine(), "versions": versions(), "command": command()}
    with contextlib.ExitStack() as stack:
        workers = {policy: stack.enter_context(worker(args, policy)) for policy in POLICIES}
        times = take_turns(workers, args.rounds)
    case = {name: getattr(args, name) for name in ("tokens", "vocab", "student_width", "teacher_width", "threads")}
    case |= {"device": "cpu", "dtype": "float32", "rounds": args.rounds}
    rows = []
    for neighbour in NEIGHBOURS:
        for policy in POLICIES:
            of = {form: times[neighbour, policy, form] for form in FORMS}
            shares = [fused / plain for (fused, _), (plain, _) in zip(of["fused"], of["plain"], strict=True)]
            for form in FORMS:
                row = {"form": form, "neighbour": neighbour, "policy": policy}
                row |= spread("seconds", [seconds for seconds, _ in of[form]])
                row |= spread("cpu_seconds", [seconds for _, seconds in of[form]])
                rows.append(row | (spread("fused_to_plain", shares) if form == "fused" else {}) | case | story)
    if args.json:
        write_rows(args.json, rows)
    print(table(rows))
    return rows


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=2048, metavar="N", help="tokens per step (default: %(default)s)")
    parser.add_argument("--vocab", type=int, default=32768, metavar="K", help="vocabulary size (default: %(default)s)")
    parser.add_argument(
        "--student-width", type=int, default=512, metavar="D", help="width of the student (default: %(default)s)"
    )
    parser.add_argument(
        "--teacher-width", type=int, default=1024, metavar="D", help="width of the teacher (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=cores(), metavar="N", help="CPU threads per process (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns per form (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="output file for the rows")
    return parser.parse_args(argv)


def take_turns(workers: dict[str, Connection], rounds: int) -> dict[tuple[str, str, str], list[tuple[float, float]]]:
    """Return (neighbour, policy, form) -> list of (seconds, CPU seconds) of a step, one per round."""
    turns = [(policy, form) for policy in workers for form in FORMS]
    times: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    order = random.Random(1)
    with tqdm(total=len(turns) * (len(NEIGHBOURS) * rounds + 1), unit="turn", desc="measuring") as bar:
        for turn in turns:
            ask(workers[turn[0]], turn[1])  # warm-up
            bar.update()
        for _ in range(rounds):
            for neighbour in NEIGHBOURS:
                with loops(cores() if neighbour == "busy" else 0):
                    for policy, form in order.sample(turns, len(turns)):
                        times.setdefault((neighbour, policy, form), []).append(ask(workers[policy], form))
                        bar.update()
    return times


@contextlib.contextmanager
def loops(count: int) -> Iterator[None]:
    """Run `count` processes with busy loops."""
    context = multiprocessing.get_context("fork")
    running = [context.Process(target=loop, daemon=True) for _ in range(count)]
    for process in running:
        process.start()
    try:
        yield
    finally:
        for process in running:
            process.terminate()
            process.join()


def loop() -> None:
    while True:
        pass


@contextlib.contextmanager
def worker(args: argparse.Namespace, policy: str) -> Iterator[Connection]:
    """Run a process with the policy. It runs a step for each form that is sent to it."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    before = dict(os.environ)
    for name in VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(POLICIES[policy])
    process = context.Process(target=work, args=(theirs, args, POLICIES[policy]), daemon=True)
    try:
        process.start()
    finally:
        os.environ.clear()
        os.environ.update(before)
    theirs.close()
    try:
        yield pipe
    finally:
        pipe.close()
        process.join(30)


def ask(pipe: Connection, form: str) -> tuple[float, float]:
    """Have a worker run one step. Return its seconds and CPU seconds."""
    pipe.send(form)
    try:
        answer = pipe.recv()
    except EOFError:
        answer = "the worker process died"
    if isinstance(answer, str):
        sys.exit(answer)
    return answer


def work(pipe: Connection, args: argparse.Namespace, policy: dict[str, str]) -> None:
    """Run a worker: answer each name of a form with seconds and CPU seconds, and an exception with its traceback."""
    try:
        from _forms import FORMS, make_problem

        assert {name: os.environ[name] for name in VARIABLES if name in os.environ} == policy
        torch.set_num_threads(args.threads)
        problem = make_problem(args.tokens, args.vocab, args.student_width, args.teacher_width)
        while True:
            form = FORMS[pipe.recv()]
            problem.student.hidden.grad = problem.student.weight.grad = None
            start, cpu = time.perf_counter(), time.process_time()
            form(problem).backward()
            pipe.send((time.perf_counter() - start, time.process_time() - cpu))
    except EOFError:
        pass
    except BaseException:
        pipe.send(traceback.format_exc())


def table(rows: Sequence[dict[str, Any]], style: str = "github") -> str:
    """Format rows as a table, and say whether the target is met."""
    of = {(row["neighbour"], row["policy"], row["form"]): row for row in rows}
    lines, risen = [], {}
    for neighbour in NEIGHBOURS:
        for policy in POLICIES:
            fused, plain = (of[neighbour, policy, form] for form in FORMS)
            share, idle = (of[name, policy, "fused"]["fused_to_plain_median"] for name in (neighbour, "idle"))
            risen[neighbour, policy] = share / idle
            lines.append(
                {
                    "cores": neighbour,
                    "threads wait": policy,
                    "fused, s": fused["seconds_median"],
                    "plain, s": plain["seconds_median"],
                    "fused / plain": share,
                    "quartiles": " - ".join(f"{value:.2f}" for value in fused["fused_to_plain_quartiles"]),
                    "x idle share": share / idle,
                    "fused, CPU s": fused["cpu_seconds_median"],
                    "plain, CPU s": plain["cpu_seconds_median"],
                }
            )
    first, found = rows[0], risen["busy", "passive"]
    met = "met" if round(found, 2) <= TARGET else "missed"
    shown = tabulate(lines, headers="keys", tablefmt=style, floatfmt=["", "", *[".2f"] * 7])
    return (
        f"{first['tokens']:,} tokens x {first['vocab']:,} types, {first['dtype']}, {first['threads']} threads, "
        f"{first['rounds']} rounds\n\n{shown}\n\n"
        f"Target: with neighbours and passive threads, at most {TARGET} x the idle share: {met} ({found:.2f})."
    )


if __name__ == "__main__":
    main()
