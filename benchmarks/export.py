#!/usr/bin/env python
"""Measure size, speed (sentences per second) and BLEU of students, in fairseq and as exported by `lskd export`.

A task is a name, a student's checkpoint, and raw text of the source and the reference (also .gz). Dictionaries and the
SentencePiece model are found as by `lskd export`. fairseq and the exported models of all --compute-types translate the
same sentences in turns, --rounds times, so that noise of the machine affects all of them. Compare numbers within a run.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fairseq  # noqa: F401  lets the compat layer allow-list the classes in fairseq's checkpoints
from _common import Others, command, four, spread, versions, write_rows
from tabulate import tabulate

from fairseq_lskd.cli.export import COMPUTE_TYPES
from fairseq_lskd.errors import exit_on_user_error
from fairseq_lskd.export.comparison import RawBitext, compare
from fairseq_lskd.export.folder import export_student
from fairseq_lskd.export.pieces import find_pieces
from fairseq_lskd.machine import machine
from fairseq_lskd.teachers.alone import load_teacher

EXAMPLES = """examples:
  python benchmarks/export.py --json export.json \\
      --task multi30k runs/m30k/student/checkpoint_average.pt data/m30k/raw/test.de data/m30k/raw/test.en
  python benchmarks/export.py --compute-types int8 --sentences 200 --task ...
"""


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    args = parse(argv)
    for name in ("fairseq", "fairseq_lskd"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
    story = {"machine": machine(), "versions": versions("sacrebleu", "sentencepiece"), "command": command()}
    rows = []
    for name, *paths in args.task:
        print(f"{name}", file=sys.stderr)
        others = Others()
        measured = measure(*map(Path, paths), args)
        rows += [{"corpus": name, **row, **story, "others_cores": others.cores()} for row in measured]
    if args.json:
        write_rows(args.json, rows)
    print(table(rows))
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Format rows as a Markdown table."""
    shown = [
        [
            row["corpus"],
            row["model"],
            f"{row['megabytes']:.2f}",
            f"{row['sentences_per_second_median']:.0f}",
            f"{row['times_fairseq']:.1f}",
            f"{row['bleu']:.2f}",
        ]
        for row in rows
    ]
    headers = ("corpus", "model", "MB", "sentences/s", "x fairseq", "BLEU")
    found = tabulate(shown, headers, tablefmt="github", disable_numparse=True)
    signatures = "  \n".join(sorted({f"`BLEU: {row['signature']}`" for row in rows}))
    return f"{found}\n\n{signatures}"


def measure(checkpoint: Path, source: Path, references: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure one student. Return a row per model."""
    test = RawBitext(source, [references], args.sentences)
    student = load_teacher(str(checkpoint))
    pieces = find_pieces(student, None, None, None)
    with tempfile.TemporaryDirectory() as folder:
        folders = [Path(folder, kind) for kind in args.compute_types]
        for out in folders:
            export_student(student, pieces, out, out.name)
        found = compare(student, pieces, folders, test, beam=args.beam, rounds=args.rounds, cores=args.threads)
    rates = [row.pop("rates") for row in found]
    for name, row, each in zip(["fairseq", *args.compute_types], found, rates, strict=True):
        del row["path"], row["sentences_per_second"]
        row |= {"model": name, "megabytes": four(row["bytes"] / 1e6), "rounds": args.rounds}
        row |= spread("sentences_per_second", each)
        row |= spread("times_fairseq", [a / b for a, b in zip(each, rates[0], strict=True)])
        row["times_fairseq"] = row.pop("times_fairseq_median")
    return found


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--task",
        nargs=4,
        action="append",
        required=True,
        metavar=("NAME", "CHECKPOINT", "SOURCE", "REFERENCES"),
        help="name of a task, a student's checkpoint, and raw text of the source and the reference; repeatable",
    )
    parser.add_argument(
        "--compute-types",
        nargs="+",
        choices=COMPUTE_TYPES,
        default=["float32", "int8"],
        help="data types of the exported models (default: float32 int8)",
    )
    parser.add_argument(
        "--sentences", type=int, metavar="N", help="translate the first N sentences of each task (default: all)"
    )
    parser.add_argument("--beam", type=int, default=5, metavar="N", help="beam size (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns per model (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="output file for the rows")
    return parser.parse_args(argv)


if __name__ == "__main__":
    with exit_on_user_error("export.py"):
        main()
