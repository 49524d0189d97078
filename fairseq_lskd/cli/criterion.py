"""Print the options of a criterion, which fairseq-train --help leaves out: it prints before it reads --criterion."""

from __future__ import annotations

import argparse

from ..errors import UserError
from ..user_dir import add_user_dir

EXAMPLES = """examples:
  lskd criterion word_kd
  lskd criterion mine --user-dir my_modules
"""

NAMES = ("label_smoothed_teacher", "word_kd", "seq_kd")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help=f"{', '.join(NAMES)}, or another that fairseq has")
    add_user_dir(parser)


def run(args: argparse.Namespace) -> int:
    from fairseq.criterions import CRITERION_REGISTRY

    from .. import criterions  # noqa: F401  registers them

    criterion = CRITERION_REGISTRY.get(args.name)
    if criterion is None:
        theirs = sorted(set(CRITERION_REGISTRY) - set(NAMES))
        raise UserError(
            f"NAME {args.name}: no such criterion; expected {', '.join(NAMES)}, or one of {', '.join(theirs)} (one of "
            "your own: name its folder with --user-dir)"
        )
    folder = args.user_dirs[-1] if args.user_dirs else "fairseq_lskd"
    parser = argparse.ArgumentParser(
        prog="fairseq-train",
        usage=f"fairseq-train DATA --user-dir {folder} --criterion {args.name} [options]",
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
