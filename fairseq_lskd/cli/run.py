"""Run a command for an output folder: log it, show its progress, and record it in run.json.

If the same command has already finished, it is not run again. If it was interrupted, it is started again, and
fairseq-train continues from its last checkpoint. It is also continued with a larger --max-update, --max-epoch or
--patience. The folder of another command is refused; with LSKD_REPLACE=1 in the environment, it is replaced.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from ..runs import labels_of, read_labels
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
        "--out", type=Path, required=True, metavar="DIR", help="folder of the run, which gets run.json and the log"
    )
    parser.add_argument(
        "--log",
        default="log.txt",
        metavar="NAME",
        help="name of the file in --out for the command's output (default: %(default)s)",
    )
    parser.add_argument(
        "--input",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="file that the run depends on; its digest is recorded (repeatable)",
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="label of the run in result records and tables: role=student, method=word, ... (repeatable)",
    )
    parser.add_argument(
        "--title", metavar="TEXT", help="name of the run in progress lines (default: name of the folder)"
    )
    parser.usage = f"{parser.prog} --out DIR [options] -- COMMAND ..."
    parser.add_argument("command", nargs="+", metavar="COMMAND ...", help="command to run, after --")


def _describe(folder: Path, made: dict[str, Any]) -> None:
    """Describe a finished training in its record `made`."""
    import fairseq  # noqa: F401  the compat layer then allows torch to load the classes in fairseq's checkpoints

    from ..records.derive import describe

    describe(folder, made)


def run(args: argparse.Namespace) -> int:
    labels = read_labels(args.label)
    labels_of(args.command, labels)
    check_validation(args.command)
    # SIGTERM ends the command too, as SIGINT does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    run_recorded(args.command, args.out, args.log, args.input, args.title, labels, _describe)
    return 0
