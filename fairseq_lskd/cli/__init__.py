"""The `lskd` command. One module a subcommand, imported only when it is asked for."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..compat import openmp
from ..compat.versions import what_is_missing
from ..errors import exit_on_user_error
from ..terminal import plain_output
from ..user_dir import import_user_dirs
from ._numbers import check_numbers

#: Subcommand -> its line in `lskd --help`. The module of the same name has EXAMPLES (text),
#: add_arguments(parser) and run(args) -> exit status.
COMMANDS = {
    "doctor": "print versions, devices, what is mended and what is wrong",
    "generate": "write a generated bitext whose p(y | x) is known",
    "data": "fetch and clean a corpus or a bitext of your own, and check what was prepared",
    "encode": "check a bitext, train a vocabulary on it, write pieces and dictionaries",
    "binarise": "binarise what encode wrote, for fairseq-train",
    "run": "run a command as the one recorded run of an output folder",
    "average": "average the last checkpoints of a run",
    "cache": "write a teacher's top-k probabilities, to train students without it",
    "translate": "translate a corpus with a teacher into n-best lists: sharded, resumable, fast",
    "harvest": "put fairseq-generate's output back into corpus order",
    "rescore": "score translations with a model: a backward model, the teacher, an ensemble",
    "select": "make training data of a teacher's n-best translations",
    "export": "turn a student into a folder that translates raw text with CTranslate2, in int8",
    "criterion": "print the options of a criterion",
    "analyze": "measure what label smoothing did to teachers, and report which to distil from",
    "score": "score translations with sacreBLEU: files side by side",
    "record": "score a run, and write its result record",
    "speed": "measure how fast models decode, side by side on one machine",
    "curves": "gather and draw the curves of trainings",
    "table": "gather result records in results.json and print them as a table",
}


@contextlib.contextmanager
def _no_traceback(prefix: str, out: Path | None = None) -> Iterator[None]:
    """End in a message where no bug is to blame.

    That is: user's mistakes, missing packages, files, a full disk, Ctrl-C, a closed pipe.
    """
    try:
        with exit_on_user_error(prefix), what_is_missing():
            yield
            sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"{prefix}: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader has what it wanted (`lskd table ... | head`); the rest goes nowhere, without a word.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            place = f"{error.filename or out or 'the output'}: {error.strerror}"
            sys.exit(
                f"{prefix}: error: {place}; the disk of the output is full, or your quota on it. Make room there, and "
                "call the same command again."
            )
        if error.filename is None:
            raise
        sys.exit(f"{prefix}: error: {error.filename}: {error.strerror}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``lskd SUBCOMMAND ...`` and return the exit status (0: done, 1: user's mistake, 2: usage)."""
    with plain_output():
        return _main(argv)


def _module(name: str, argv: Sequence[str]) -> str:
    """The module of a subcommand. `lskd score --run`, as it was called once, is `lskd record`."""
    of_run = any(word == "--run" or word.startswith("--run=") for word in argv)
    return "record" if name == "score" and of_run else name


def _main(argv: Sequence[str] | None) -> int:
    openmp.wait_passively()
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="lskd",
        description="Distil translation models with fairseq.",
        epilog="`lskd COMMAND --help` shows the options of a command and examples.",
    )
    subparsers = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, line in COMMANDS.items():
        if name != chosen:
            subparsers.add_parser(name, help=line)
            continue
        with _no_traceback(f"lskd {name}"):
            module = importlib.import_module(f"{__name__}.{_module(name, argv)}")
        subparser = subparsers.add_parser(
            name,
            help=line,
            description=module.__doc__,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    with _no_traceback(f"lskd {args.subcommand}", getattr(args, "out", None)):
        check_numbers(args)
        import_user_dirs(getattr(args, "user_dirs", []))
        return args.run(args)
    return 1
