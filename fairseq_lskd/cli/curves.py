"""Gather the curves of trainings from their logs, and draw them: perplexity, BLEU, training and distillation loss.

A RUN is a folder of `lskd run` whose command was fairseq-train, the folder of a plain fairseq-train that its log was
written to, or that log (--log-format json or simple). A training that was resumed is put together from all its logs.
Training losses are drawn at every point that was logged (--log-interval). BLEU is there if fairseq-train was given
--eval-bleu: as fairseq computes it while it trains, good to compare curves, not to publish.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """examples:
  lskd curves runs/mine/teacher-0.0 runs/mine/teacher-0.1 --plot curves.svg
  lskd curves runs/mine/word-* --csv curves.csv --plot curves.png
  fairseq-train ... --save-dir mine --log-format json >mine/train.log; lskd curves mine --plot curves.svg
  lskd curves --from curves.csv --plot curves.svg
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="folders of trainings, or logs")
    parser.add_argument("--from", dest="rows", type=Path, metavar="CSV", help="instead: what --csv wrote")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the rows: system, update, name, value")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them: .svg, .png, .pdf")


def run(args: argparse.Namespace) -> int:
    from ..errors import UserError
    from ..scoring.curves import draw, read_csv, read_runs, write_csv

    if bool(args.runs) == bool(args.rows):
        raise UserError("give either folders of runs, or --from")
    if not (args.csv or args.plot):
        raise UserError("there is nothing to write: give --csv, --plot or both")
    rows = read_csv(args.rows) if args.rows else read_runs(args.runs)
    if args.csv:
        write_csv(args.csv, rows)
    if args.plot:
        draw(rows, args.plot)
    print(f"{len({row.system for row in rows})} trainings, {len(rows):,} points")
    return 0
