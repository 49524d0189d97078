"""Print the options of a criterion, which fairseq-train --help leaves out: it prints before it reads --criterion."""

from __future__ import annotations

import argparse

EXAMPLES = """examples:
  lskd criterion word_kd
"""

NAMES = ("label_smoothed_teacher", "word_kd", "seq_kd")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=NAMES, metavar="NAME", help=", ".join(NAMES))


def run(args: argparse.Namespace) -> int:
    from fairseq.criterions import CRITERION_REGISTRY

    from .. import criterions  # noqa: F401  registers them

    criterion = CRITERION_REGISTRY[args.name]
    parser = argparse.ArgumentParser(
        prog="fairseq-train",
        usage=f"fairseq-train DATA --user-dir fairseq_lskd --criterion {args.name} [options]",
        description=criterion.__doc__,
        add_help=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    criterion.add_args(parser)
    for option in parser._actions:  # argparse tells of them to its formatters alone
        told = option.default is None or option.default is False or "(default" in (option.help or "")
        if not told and option.default != argparse.SUPPRESS:
            option.help = f"{option.help or ''} (default: %(default)s)"
    parser.print_help()
    return 0
