"""Measure how fast checkpoints decode, with plain fairseq-generate, taking turns on one machine.

Each round decodes the split with every checkpoint, in an order that is turned by one each time; a checkpoint's speed is
the median of its rounds. Counted is what fairseq-generate counts: searching, not loading. Let nothing else run
meanwhile.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from ..errors import UserError
from ..files import write_json
from ..user_dir import add_user_dir

EXAMPLES = """examples:
  lskd speed --data data/mine/bin --model teacher=runs/mine/teacher/checkpoint_average.pt \\
      --model word=runs/mine/word/checkpoint_average.pt --out runs/mine/speed.json -- --beam 5 --max-tokens 4000
  lskd table runs/mine/*/result.json --speed runs/mine/speed.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of binarised data")
    parser.add_argument(
        "--model",
        action="append",
        required=True,
        metavar="NAME=FILE",
        help="a checkpoint, by its name in tables (repeatable)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the JSON to write")
    parser.add_argument("--subset", default="test", metavar="SPLIT", help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="(%(default)s)")
    add_user_dir(parser)
    parser.usage = f"{parser.prog} --data DIR --model NAME=FILE ... --out FILE [-- options of fairseq-generate]"
    parser.add_argument("options", nargs="*", metavar="OPTIONS", help="of fairseq-generate, after --")


def run(args: argparse.Namespace) -> int:
    from ..machine import machine
    from ..scoring.speed import measure

    if args.rounds < 1:
        raise UserError(f"--rounds {args.rounds}: expected 1 or more")
    # As an interrupt does, it ends fairseq-generate too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    models: dict[str, Path] = {}
    for word in args.model:
        name, equals, path = word.partition("=")
        if not name or not equals or not Path(path).is_file():
            raise UserError(f"--model {word}: expected NAME=FILE, of a checkpoint that is there")
        if name in models:
            raise UserError(f"--model {word}: {name} is {models[name]} already; give each a name of its own")
        models[name] = Path(path)
    if len(args.user_dirs) > 1:
        raise UserError(
            f"--user-dir {', '.join(args.user_dirs)}: fairseq-generate takes one; have one import the others"
        )
    options = [*(word for folder in args.user_dirs for word in ("--user-dir", folder)), *args.options]
    found = measure(args.data, models, args.subset, args.rounds, options)
    write_json(args.out, {"machine": machine(), **found})
    for name, entry in found["systems"].items():
        print(f"{name}: {entry['sentences_per_second']:,.1f} sentences/s")
    return 0
