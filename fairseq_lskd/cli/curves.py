"""Read the training curves from logs, and plot them: perplexity, BLEU, training loss and distillation loss.

RUN is a folder in which `lskd run` trained a model, the --save-dir of a plain fairseq-train with its log in it, or the
log itself (--log-format json or simple). The logs of a training that was resumed are joined. The training loss has a
point per --log-interval. BLEU is plotted if fairseq-train was called with --eval-bleu. Use this BLEU to compare curves;
to publish scores, use `lskd score`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ._options import add_options

EXAMPLES = """examples:
  lskd curves runs/mine/teacher-0.0 runs/mine/teacher-0.1 --plot curves.svg
  lskd curves runs/mine/word-* --csv curves.csv --plot curves.png
  fairseq-train ... --save-dir mine --log-format json >mine/train.log; lskd curves mine --plot curves.svg
  lskd curves --from curves.csv --plot curves.svg
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="folder or log of a training")
    parser.add_argument("--from", dest="rows", type=Path, metavar="CSV", help="file that --csv wrote, instead of RUN")
    add_options(
        parser,
        ("--csv", Path, "FILE", "write the points as CSV, with columns system, update, name, value, seed"),
        ("--plot", Path, "FILE", "write a plot of the curves, as .svg, .png or .pdf"),
    )


def run(args: argparse.Namespace) -> int:
    from ..errors import UserError
    from ..scoring.curves import draw, read_csv, read_runs, write_csv

    if bool(args.runs) == bool(args.rows):
        raise UserError("expected either RUN or --from: give one of them")
    if not (args.csv or args.plot):
        raise UserError("there is no output: give --csv, --plot or both")
    rows = read_csv(args.rows) if args.rows else read_runs(args.runs)
    if args.csv:
        write_csv(args.csv, rows)
    if args.plot:
        draw(rows, args.plot)
    trainings = len({row.system for row in rows})
    print(f"{trainings} training{'s' * (trainings > 1)}, {len(rows):,} points")
    return 0
