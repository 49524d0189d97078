"""Print the options of a criterion. (`fairseq-train --criterion NAME --help` does not show them.)"""

from __future__ import annotations

import argparse
import inspect

from ..errors import UserError
from ..user_dir import add_user_dir
from ._help import HelpFormatter

EXAMPLES = """examples:
  lskd criterion word_kd
  lskd criterion mine --user-dir my_modules
"""

NAMES = ("label_smoothed_teacher", "word_kd", "seq_kd")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", help=f"name of the criterion: {', '.join(NAMES)}, or one of fairseq or --user-dir"
    )
    add_user_dir(parser)


def run(args: argparse.Namespace) -> int:
    from fairseq.criterions import CRITERION_REGISTRY

    from .. import criterions  # noqa: F401  registers them

    criterion = CRITERION_REGISTRY.get(args.name)
    if criterion is None:
        theirs = sorted(set(CRITERION_REGISTRY) - set(NAMES))
        raise UserError(
            f"NAME {args.name}: no such criterion; expected {', '.join(NAMES)}, or one of {', '.join(theirs)}. For a "
            "criterion of your own, give its folder with --user-dir"
        )
    folder = args.user_dirs[-1] if args.user_dirs else "fairseq_lskd"
    parser = argparse.ArgumentParser(
        prog="fairseq-train",
        usage=f"fairseq-train DATA --user-dir {folder} --criterion {args.name} [options]",
        description=inspect.getdoc(criterion),
        add_help=False,
        formatter_class=HelpFormatter,
    )
    criterion.add_args(parser)
    for option in parser._actions:  # argparse has no public list of a parser's options
        complete = option.default is None or option.default is False or "(default" in (option.help or "")
        if not complete and option.default != argparse.SUPPRESS:
            option.help = f"{option.help or ''} (default: %(default)s)"
    parser.print_help()
    return 0
