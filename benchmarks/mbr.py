#!/usr/bin/env python
"""Measure minimum Bayes risk: sentences per second of one core, and agreement of the aggregated and the exact form.

A task is a name and a file: n-best lists of `lskd translate` (.jsonl), or text. For text, the candidates are copies of
each sentence in which words are deleted and replaced at random. The forms take turns. Times are CPU seconds.

  sacrebleu    sacreBLEU's own metric, pair by pair
  exact        all pairs at once, as with --strategy mbr
  aggregated   all references as one, as with --mbr-aggregate
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is imported

import numpy as np
from _common import Others, command, four, spread, versions, write_rows
from tabulate import tabulate

from fairseq_lskd.errors import exit_on_user_error
from fairseq_lskd.lines import read_lines
from fairseq_lskd.machine import machine
from fairseq_lskd.sequences.mbr import Risk
from fairseq_lskd.sequences.nbest import read_nbest
from fairseq_lskd.sequences.utility import UTILITIES, make_metric, make_utility

EXAMPLES = """examples:
  lskd translate data/multi30k/bin --subset test --teacher-path teacher.pt --out samples.jsonl --sampling --beam 64 \\
      --nbest 64 --max-len-a 1.2 --max-len-b 10
  python benchmarks/mbr.py --task multi30k samples.jsonl \\
      --task europarl ../shared/corpora/europarl-en-fr/test.fr.gz --json benchmarks/results/mbr.json
"""
AMONG = 5  #: number of top candidates of the aggregated form that should contain the exact choice
SHARE = 0.15  #: share of words deleted from a copy, and of words replaced in it
FORMS = ("sacrebleu", "exact", "aggregated")

Candidates = list[dict[str, Any]]


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    args = parse(argv)
    story = {"machine": machine(), "versions": versions("sacrebleu"), "command": command()}
    rows: list[dict[str, Any]] = []
    for (name, path), utility, count in itertools.product(args.task, UTILITIES, args.candidates):
        lists = list(itertools.islice(candidates(Path(path), count), args.sentences))
        words = float(np.mean([len(each["text"].split()) for each in itertools.chain(*lists)]))
        about = {"task": name, "utility": utility, "candidates": count, "words": four(words)}
        for row in measure(utility, lists, args):
            rows.append(about | row | story)
            print(f"{name} {utility} {count} {row['form']}: {row['sentences_per_second_median']}", file=sys.stderr)
    if args.json:
        write_rows(args.json, rows)
    print(table(rows))
    return rows


def candidates(path: Path, count: int) -> Iterator[Candidates]:
    """Yield `count` candidates for each sentence of a file."""
    if ".jsonl" in path.suffixes:
        for record in read_nbest(path):
            if len(record["hypotheses"]) >= count:
                # Lists are sorted by score. Sample from them, because the best are more similar to each other.
                chosen = sorted(random.Random(record["id"]).sample(range(len(record["hypotheses"])), count))
                yield [record["hypotheses"][i] for i in chosen]
    else:
        words = [word for line in itertools.islice(read_lines(path), 100) for word in line.split()]
        for number, line in enumerate(read_lines(path)):
            chance = random.Random(number)
            yield [{"text": noisy(line, words, chance), "score": -float(i)} for i in range(count)]


def noisy(line: str, words: Sequence[str], chance: random.Random) -> str:
    kept = (word for word in line.split() if chance.random() > SHARE)
    return " ".join(chance.choice(words) if chance.random() < SHARE else word for word in kept)


def measure(name: str, lists: Sequence[Candidates], args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure the forms. Yield a row for each."""
    utility, metric = make_utility(name), make_metric(name)
    exact, aggregated = Risk(utility), Risk(utility, aggregate=True)
    forms: dict[str, tuple[Callable[[Candidates], Any], int]] = {
        "sacrebleu": (lambda each: one_by_one(metric, each), max(1, len(lists) // args.fewer)),
        "exact": (exact.rank, len(lists)),
        "aggregated": (aggregated.rank, len(lists)),
    }
    others = Others()
    seconds: dict[str, list[float]] = {form: [] for form in forms}
    for _ in range(args.rounds):
        for form, (does, sentences) in forms.items():
            begun = time.process_time()
            for each in lists[:sentences]:
                does(each)
            seconds[form].append((time.process_time() - begun) / sentences)
    busy = others.cores()
    for form, (_, sentences) in forms.items():
        row = {"form": form, "sentences": sentences, "rounds": args.rounds}
        row |= spread("sentences_per_second", [1 / each for each in seconds[form]])
        row |= spread("times_sacrebleu", [s / f for s, f in zip(seconds["sacrebleu"], seconds[form], strict=True)])
        if form == "aggregated":
            row |= agreement(exact, aggregated, lists)
        yield row | {"others_cores": busy}


def one_by_one(metric: Any, each: Candidates) -> float:
    texts = {candidate["text"] for candidate in each}
    return max(sum(metric.sentence_score(a, [b]).score for b in texts) for a in texts)


def agreement(exact: Risk, aggregated: Risk, lists: Sequence[Candidates]) -> dict[str, float]:
    """Return how often both forms choose the same text, or among the best few, and the mean loss of utility."""
    same, among, loss = [], [], []
    for each in lists:
        (best, utilities), (found, _) = exact.rank(each), aggregated.rank(each)
        expected = {candidate["text"]: value for candidate, value in zip(best, utilities, strict=True)}
        same.append(found[0]["text"] == best[0]["text"])
        among.append(best[0]["text"] in [candidate["text"] for candidate in found[:AMONG]])
        loss.append(utilities[0] - expected[found[0]["text"]])
    return {
        "same_choice": round(float(np.mean(same)), 4),
        f"among_best_{AMONG}": round(float(np.mean(among)), 4),
        "utility_lost": round(float(np.mean(loss)), 4),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Format rows as a Markdown table."""
    shown = [
        [
            *(row["task"], f"{row['words']:.0f}", row["utility"], row["candidates"], row["form"]),
            f"{row['sentences_per_second_median']:,.4g}",
            f"{row['times_sacrebleu_median']:,.0f}",
            *(f"{row[name]:.1%}" if name in row else "" for name in ("same_choice", f"among_best_{AMONG}")),
            f"{row['utility_lost']:.2f}" if "utility_lost" in row else "",
        ]
        for row in rows
    ]
    headers = (
        *("task", "words", "utility", "candidates", "form", "sentences/s", "x sacrebleu"),
        *("same choice", f"in its best {AMONG}", "utility lost"),
    )
    return tabulate(shown, headers, tablefmt="github", disable_numparse=True)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--task",
        nargs=2,
        action="append",
        required=True,
        metavar=("NAME", "FILE"),
        help="name of a task, and its n-best lists (.jsonl) or text; repeatable",
    )
    parser.add_argument(
        "--candidates",
        nargs="+",
        type=int,
        default=[16, 64],
        metavar="N",
        help="numbers of candidates per sentence (default: 16 64)",
    )
    parser.add_argument(
        "--sentences", type=int, default=100, metavar="N", help="sentences per task (default: %(default)s)"
    )
    parser.add_argument(
        "--fewer", type=int, default=50, metavar="N", help="run sacreBLEU on one in N sentences (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns per form (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="output file for the rows")
    return parser.parse_args(argv)


if __name__ == "__main__":
    with exit_on_user_error("mbr.py"):
        main()
