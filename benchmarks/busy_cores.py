#!/usr/bin/env python
"""The fused loss beside the plain one, with the cores to themselves and with neighbours on them.

OpenMP's threads spin by default while they wait for each other, and on a core that another program uses as well, each
wait costs that program's time slice. Passive threads (OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0, which lskd and
fairseq's commands get here) sleep. Each policy has a process of its own, since libgomp reads it once. The processes
take turns at one step of each form, in a new order each round; the neighbour is a busy loop a core.
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

import torch  # before fairseq, whose import would set the policy
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
#: With neighbours, fused takes at most so many times the share of plain's time that it takes without.
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
    parser.add_argument("--tokens", type=int, default=2048, metavar="N", help="(%(default)s)")
    parser.add_argument("--vocab", type=int, default=32768, metavar="K", help="(%(default)s)")
    parser.add_argument("--student-width", type=int, default=512, metavar="D", help="(%(default)s)")
    parser.add_argument("--teacher-width", type=int, default=1024, metavar="D", help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=cores(), metavar="N", help="of a process (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="(%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    return parser.parse_args(argv)


def take_turns(workers: dict[str, Connection], rounds: int) -> dict[tuple[str, str, str], list[tuple[float, float]]]:
    """(neighbour, policy, form) -> (seconds, CPU seconds) of a step, a round each."""
    turns = [(policy, form) for policy in workers for form in FORMS]
    times: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    order = random.Random(1)
    with tqdm(total=len(turns) * (len(NEIGHBOURS) * rounds + 1), unit="turn", desc="measuring") as bar:
        for turn in turns:
            ask(workers[turn[0]], turn[1])  # warms it up
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
    """Neighbours: so many processes that compute without end."""
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
    """A process under the policy, which does a step when a form is named to it."""
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
    """Seconds and CPU seconds of one step."""
    pipe.send(form)
    try:
        answer = pipe.recv()
    except EOFError:
        answer = "the process ended"
    if isinstance(answer, str):
        sys.exit(answer)
    return answer


def work(pipe: Connection, args: argparse.Namespace, policy: dict[str, str]) -> None:
    """The other process: the name of a form is answered by seconds and CPU seconds, a mistake by a text."""
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
    """The rows for people, and whether the target is met."""
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
