"""Check the options of a training before the steps that precede it, which take longer than the check.

Scripts call `python -m fairseq_lskd.criterions.command_line [--sampled] fairseq-train ...`, with --sampled if the
teacher cache will be an unbiased one. Without arguments, it reads a JSON list of such commands, each a list of words,
and prints a JSON list of the problems of each.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from fairseq import options
from fairseq.criterions import CRITERION_REGISTRY

from ..commands import option, training_words, without
from ..errors import UserError, exit_on_user_error
from ..user_dir import PACKAGE, import_user_dirs
from ..validations import check_validation
from ._checks import check_sampled, raise_for
from ._smoothing import SmoothingCriterion

PROGRAM, SAMPLED = "fairseq-train", "--sampled"


def check_options(words: Sequence[str], sampled: bool = False) -> None:
    """Parse the options as fairseq-train does, and check those of the criterion. No data and no model is opened.

    Args:
        words: the words after fairseq-train.
        sampled: whether --teacher-cache is an unbiased cache, which supports fewer options.

    Raises:
        UserError: for unknown options, values of another type, and what the criterion refuses.
    """
    if (folder := option(words, "--user-dir")) is not None:
        import_user_dirs([folder])
        if Path(folder).resolve() == PACKAGE:  # is imported, and fairseq would refuse to do it again
            words = without(words, ["--user-dir"])
    parser = options.get_training_parser()
    parser.usage = argparse.SUPPRESS  # hundreds of lines
    parser.exit = _refuse  # argparse calls it to end the process after a message
    args = options.parse_args_and_arch(parser, list(words))
    criterion = CRITERION_REGISTRY[args.criterion]
    if issubclass(criterion, SmoothingCriterion):
        raise_for(criterion.check(args) or (check_sampled(args) if sampled else []))


def _refuse(status: int = 0, message: str | None = None) -> NoReturn:
    raise UserError((message or "").partition(": error: ")[2].strip())


def check_command(command: Sequence[str]) -> None:
    """Check a call of fairseq-train, which may follow --sampled."""
    sampled = command[0] == SAMPLED
    words = training_words(command[sampled:]) or []
    sys.argv = [PROGRAM, *words]  # fairseq and the hints for its errors read it
    check_options(words, sampled)


def problems_of(command: Sequence[str]) -> list[str]:
    """Return the problems with a call of fairseq-train, one message each."""
    try:
        check_command(command)
    except UserError as error:
        first, *more = (line.strip() for line in str(error).splitlines())
        return more if first == "" else ["; ".join([first, *more])]  # see `raise_for`
    return []


if __name__ == "__main__":
    logging.disable(logging.INFO)  # what fairseq imports
    if sys.argv[1:]:
        with exit_on_user_error(PROGRAM):
            check_validation([word for word in sys.argv[1:] if word != SAMPLED])
            check_command(sys.argv[1:])
    else:
        print(json.dumps(list(map(problems_of, json.load(sys.stdin)))))
