"""Run a command as the one run of an output folder: recorded, shown, resumed, done once."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..reading import parse_json
from ..runs import labels_of
from ..runs import run as run_recorded
from ..validations import check_validation

EXAMPLES = """examples:
  lskd run --out runs/mine/teacher -- \\
      fairseq-train data/multi30k/bin --save-dir runs/mine/teacher --max-update 1000 --log-format json ...
  lskd run --out runs/mine/test --log generate.txt --input runs/mine/teacher/checkpoint_best.pt -- \\
      fairseq-generate data/multi30k/bin --path runs/mine/teacher/checkpoint_best.pt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the run's folder; gets run.json and the log"
    )
    parser.add_argument(
        "--log", default="log.txt", metavar="NAME", help="file in --out for the command's output (%(default)s)"
    )
    parser.add_argument(
        "--input", type=Path, action="append", default=[], metavar="FILE", help="a file the run depends on (repeatable)"
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what `lskd score` and `lskd table` are to say of the run: role=student, method=word, ... (repeatable)",
    )
    parser.add_argument("--title", help="what to call the run in progress lines (default: the folder's name)")
    parser.epilog = f"{parser.epilog}with LSKD_REPLACE=1 in the environment, another run's folder is begun anew\n"
    parser.usage = f"{parser.prog} --out DIR [options] -- COMMAND ..."
    parser.add_argument("command", nargs="+", metavar="COMMAND ...", help="the command, after --")


def _describe(folder: Path, made: dict[str, Any]) -> None:
    """What a training was, when it has ended; it takes torch and fairseq to read a checkpoint."""
    import fairseq  # noqa: F401  lets the compat layer allow-list what fairseq's checkpoints hold

    from ..records.derive import describe

    describe(folder, made)


def run(args: argparse.Namespace) -> int:
    labels = {}
    for label in args.label:
        name, equals, value = label.partition("=")
        if not equals:
            raise UserError(f"--label {label}: expected NAME=VALUE")
        try:
            labels[name] = parse_json(value)
        except ValueError:
            labels[name] = value
    labels_of(args.command, labels)
    check_validation(args.command)
    # As an interrupt does, it ends the command too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    run_recorded(args.command, args.out, args.log, args.input, args.title, labels, _describe)
    return 0
