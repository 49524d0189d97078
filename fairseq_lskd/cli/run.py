"""Run a command for an output folder: log it, show its progress, and record it in run.json.

If the same command has already finished, it is not run again. If it was interrupted, it is started again, and
fairseq-train continues from its last checkpoint. It is also continued with a larger --max-update, --max-epoch or
--patience. The folder of another command is refused; with LSKD_REPLACE=1 in the environment, it is replaced.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..commands import option, trains
from ..records.teacher_labels import check_teacher_labels
from ..runs import RECORD, labels_of, read_labels
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


def _check_caches(inputs: Sequence[Path]) -> None:
    """Say of a teacher's cache that is not finished how far it is. Without this, its manifest is a missing file.

    Raises:
        UserError: if an input is the manifest of such a cache.
    """
    for path in inputs:
        if path.name == "cache.json" and not path.exists() and path.with_name("plan.json").is_file():
            from ..teachers.cache import read_manifest  # loads torch and fairseq

            read_manifest(path.parent, f"--teacher-cache {path.parent}")


def _warn_of_warm_up(command: Sequence[str]) -> None:
    """Warn of a training that ends within its warm-up."""
    end, warm_up = (option(command, name) or "" for name in ("--max-update", "--warmup-updates"))
    if end.isdecimal() and warm_up.isdecimal() and 0 < int(end) <= int(warm_up):
        print(
            f"lskd run: warning: --max-update {end} ends within --warmup-updates {warm_up}: the model will have learnt "
            "little. This is enough to try the steps",
            file=sys.stderr,
        )


def run(args: argparse.Namespace) -> int:
    labels = read_labels(args.label)
    labels_of(args.command, labels)
    check_validation(args.command)
    _warn_of_warm_up(args.command)
    _check_caches(args.input)
    check_teacher_labels(args.command, labels)
    # SIGTERM ends the command too, as SIGINT does.
    signal.signal(signal.SIGTERM, _end)
    try:
        run_recorded(args.command, args.out, args.log, args.input, args.title, labels, _describe)
    except _Ended:
        print(f"lskd run: {_ended(args.command, args.out, args.title or args.out.name)}", file=sys.stderr)
        raise
    return 0


class _Ended(SystemExit):
    """SIGTERM has come."""


def _end(*_: Any) -> None:
    raise _Ended(128 + signal.SIGTERM)


def _ended(command: Sequence[str], out: Path, title: str) -> str:
    """Return what SIGTERM has stopped, what is kept, and how to continue."""
    what = f"{title} was stopped by SIGTERM ({Path(command[0]).name})"
    if not (out / RECORD).is_file():
        return f"{what}. Nothing is recorded yet. The same command starts it again"
    saved = option(command, "--save-dir")
    if trains(command) is None:
        again = "The same command starts it again"
    elif saved is None:
        again = "The same command continues from the last checkpoint, if there is one"
    elif (last := Path(saved, "checkpoint_last.pt")).is_file():
        again = f"The same command continues from {last}"
    else:
        again = f"The same command starts it again, because there is no {last}"
    return f"{what}. The record and the log in {out} are kept. {again}"
