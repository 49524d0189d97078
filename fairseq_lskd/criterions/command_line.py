"""Check the options of a training before the steps that precede it, which take longer than the check.

Scripts call `python -m fairseq_lskd.criterions.command_line fairseq-train ...`.
"""

from __future__ import annotations

import argparse
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
from ._checks import raise_for
from ._smoothing import SmoothingCriterion

PROGRAM = "fairseq-train"


def check_options(words: Sequence[str]) -> None:
    """Parse the options as fairseq-train does, and check those of the criterion. No data and no model is opened.

    Args:
        words: the words after fairseq-train.

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
        raise_for(criterion.check(args))


def _refuse(status: int = 0, message: str | None = None) -> NoReturn:
    raise UserError((message or "").partition(": error: ")[2].strip())


if __name__ == "__main__":
    logging.disable(logging.INFO)  # what fairseq imports
    with exit_on_user_error(PROGRAM):
        check_validation(sys.argv[1:])
        sys.argv = [PROGRAM, *(training_words(sys.argv[1:]) or [])]  # fairseq and the hints for its errors read it
        check_options(sys.argv[1:])
