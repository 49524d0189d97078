"""The `lskd` command. Each subcommand is a module, which is imported only when the subcommand is called."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .. import __version__
from ..compat import openmp
from ..compat.versions import what_is_missing
from ..errors import COLLECTED, exit_on_user_error, meant
from ..terminal import plain_output
from ..user_dir import import_user_dirs
from ._help import HelpFormatter
from ._numbers import check_numbers

#: The steps of a project, with the subcommands of each and their lines in `lskd --help`. The module of a subcommand
#: has EXAMPLES (text), add_arguments(parser) and run(args), which returns the exit status.
STEPS = {
    "check the installation": {"doctor": "check versions, devices and the patches of fairseq"},
    "prepare data": {
        "data": "fetch and clean a corpus, or clean a bitext of your own",
        "generate": "generate an artificial bitext with known p(target | source)",
        "encode": "train a vocabulary and segment a bitext into subwords",
        "binarise": "binarise a segmented bitext for fairseq-train",
    },
    "train a teacher": {
        "run": "run a command such as fairseq-train, recorded and resumable",
        "average": "average the last checkpoints of a training",
    },
    "save what the teacher predicts": {
        "translate": "translate a corpus with a teacher into n-best lists",
        "cache": "store a teacher's token probabilities, to train without it",
    },
    "distil a student": {
        "rescore": "score n-best lists or a bitext with another model",
        "select": "build training data from a teacher's n-best translations",
        "criterion": "print the options of a criterion: word_kd, seq_kd, ...",
    },
    "score and compare": {
        "harvest": "put the output of fairseq-generate into corpus order",
        "score": "score translations of several systems with sacreBLEU",
        "record": "score a run and write its result record",
        "table": "print result records as a table, with means over seeds",
        "curves": "gather and plot the training curves of runs",
        "speed": "measure the decoding speed of models on one machine",
        "analyze": "report what label smoothing did to your teachers",
    },
    "deploy": {"export": "export a student to CTranslate2, to translate raw text"},
}
#: Commands that continue where they were stopped.
RESUMABLE = ("run", "translate", "rescore", "cache", "prepare")
_DISTIL = (
    "fairseq-train with --criterion word_kd or seq_kd (`lskd criterion word_kd` prints the options)",
    "scripts/distill_word.sh or scripts/distill_seq.sh",
)
#: What people type, the commands that do it, and the scripts of a checkout that do it.
SCRIPTS = {
    "train": ("fairseq-train", "scripts/train_teacher.sh"),
    "distill": _DISTIL,
    "distil": _DISTIL,
    "prepare": ("`lskd data prepare`, `lskd encode` and `lskd binarise`", "scripts/prepare.sh"),
}
#: (module of a command, option that it does not have): what to do.
INSTEAD = {("record", "--out"): "The record is written to result.json in the folder of --run (see --test-name)"}
#: Set by the shell's function of argcomplete, which calls `lskd` to complete a command line.
COMPLETION = "_ARGCOMPLETE"
COMMANDS = {name: line for commands in STEPS.values() for name, line in commands.items()}


@contextlib.contextmanager
def _no_traceback(prefix: str, out: Path | None = None) -> Iterator[None]:
    """Exit with a message, without a traceback, for errors that are not bugs.

    These are users' mistakes, missing packages and files, a full disk, Ctrl-C and a closed pipe.
    """
    try:
        with exit_on_user_error(prefix), what_is_missing():
            yield
            sys.stdout.flush()
    except KeyboardInterrupt:
        more = ". Run the same command again to continue" if prefix.split()[-1] in RESUMABLE else ""
        if not os.environ.get(COLLECTED):  # a step of an experiment, which says it once for all steps
            print(f"{prefix}: interrupted{more}", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of the pipe has ended (`lskd table ... | head`). Python would report an error when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            place = f"{error.filename or out or 'the output'}: {error.strerror}"
            sys.exit(
                f"{prefix}: error: {place}. The disk of the output, or your quota on it, is full. Free some space and "
                "run the same command again."
            )
        if error.filename is None:
            raise
        sys.exit(f"{prefix}: error: {error.filename}: {error.strerror}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``lskd SUBCOMMAND ...`` and return the exit status (0: done, 1: user's mistake, 2: wrong usage)."""
    with plain_output(), _quiet_loggers():
        return _main(argv)


@contextlib.contextmanager
def _quiet_loggers() -> Iterator[None]:
    """Hide what fairseq and the plug-in log in `fairseq-train`: plug-ins, dictionaries, sizes of models."""
    loggers = [logging.getLogger(name) for name in ("fairseq", "fairseq_lskd")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _module(name: str, argv: Sequence[str]) -> str:
    """Return the module of a subcommand. `lskd score --run` is the old name of `lskd record`."""
    of_run = any(word == "--run" or word.startswith("--run=") for word in argv)
    return "record" if name == "score" and of_run else name


def _meant_flag(flag: str, known: Sequence[str]) -> str | None:
    """Return the option that a misspelt one probably means; None without one."""
    # The dashes are equal in all, and would make short options similar: --sort and --out.
    names = {each.lstrip("-"): each for each in known}
    near = meant(flag.lstrip("-"), names, cutoff=0.65)
    return None if near is None else names[near]


def _main(argv: Sequence[str] | None) -> int:
    openmp.wait_passively()
    argv = list(sys.argv[1:] if argv is None else argv)
    completes = COMPLETION in os.environ
    if completes:
        argv = os.environ.get("COMP_LINE", "").split()[1:]
    steps = [
        "\n".join([f"  {step}", *(f"    {name:<10} {line}" for name, line in commands.items())])
        for step, commands in STEPS.items()
    ]
    parser = argparse.ArgumentParser(
        prog="lskd",
        usage="lskd [-h] [--version] COMMAND ...",
        description="\n\n".join(["Distil translation models with fairseq. The commands, step by step:", *steps]),
        epilog="`lskd COMMAND --help` shows the options of a command, with examples. fairseq-train trains models. A "
        "checkout also has scripts that train (scripts/train_teacher.sh, distill_word.sh, distill_seq.sh), and the "
        "manual (docs/).",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fairseq_lskd {__version__}")
    subparsers = parser.add_subparsers(
        dest="subcommand", prog="lskd", metavar="COMMAND", required=True, help=argparse.SUPPRESS
    )
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name in COMMANDS:
        if name != chosen:
            subparsers.add_parser(name)
            continue
        with _no_traceback(f"lskd {name}"):
            module = importlib.import_module(f"{__name__}.{_module(name, argv)}")
        subparser = subparsers.add_parser(
            name, description=module.__doc__, epilog=module.EXAMPLES, formatter_class=HelpFormatter
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    if completes:
        import argcomplete  # the shell's function comes with it

        argcomplete.autocomplete(parser, print_suppressed=True)
    if not argv:
        parser.print_help(sys.stderr)
        return 2
    if chosen in SCRIPTS:
        commands, scripts = SCRIPTS[chosen]
        parser.error(f"{chosen}: no such command. Call {commands}. In a checkout, {scripts} does it; see README.md")
    if chosen is not None and chosen not in COMMANDS and (likely := meant(chosen, COMMANDS)):
        parser.error(f"{chosen}: no such command. Did you mean {likely}?")
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        called = subparsers.choices[args.subcommand]
        for action in called._actions:
            if isinstance(action, argparse._SubParsersAction):  # `lskd data prepare`
                called = action.choices[getattr(args, action.dest)]
        known = [flag for action in called._actions for flag in action.option_strings]
        flags = [word.partition("=")[0] for word in unknown if word.startswith("-")]
        instead = next(
            (INSTEAD[key] for flag in flags if (key := (_module(args.subcommand, argv), flag)) in INSTEAD), None
        )
        near = [each for flag in flags if (each := _meant_flag(flag, known))]
        hint = f". {instead}" if instead else f". Did you mean {', '.join(near)}?" if near else ""
        called.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    with _no_traceback(f"lskd {args.subcommand}", getattr(args, "out", None)):
        check_numbers(args)
        import_user_dirs(getattr(args, "user_dirs", []))
        return args.run(args)
    return 1
