"""The ranges of all numeric options. They are checked together, before any file is read."""

from __future__ import annotations

import argparse
import math
import sys
from typing import NamedTuple

from ..errors import UserError


class Limit(NamedTuple):
    """A closed range, and its words in messages. It excludes infinity unless `least` or `most` is infinite."""

    words: str
    least: float = -sys.float_info.max
    most: float = sys.float_info.max


#: The limits of numbers that are not listed below. Their commands may check more.
FINITE = Limit("a finite number")
WORD = Limit("a whole number that fits into 64 bits", -(2**63), 2**63 - 1)
COUNT = Limit("1 or more", 1, 2**63 - 1)
ENDED = Limit("2 or more, as the end-of-sentence token counts", 2, 2**63 - 1)
#: Division by less overflows in float32.
TEMPERATURE = Limit("a number above 0, not smaller than 1e-06", 1e-6)

LIMITS = {
    "--batch-size": COUNT,
    "--bytes-per-token": COUNT,
    "--draws": COUNT,
    "--sampled": COUNT,
    "--beam": COUNT,
    "--jobs": COUNT,
    "--kd-temperature": TEMPERATURE,
    "--filter-score-quantile": Limit("above 0, below 1", math.ulp(0.0), 1 - 2**-53),
    "--last": COUNT,
    "--limit": COUNT,
    "--max-hypotheses": COUNT,
    "--max-source-positions": ENDED,
    "--max-target-positions": ENDED,
    "--max-tokens": COUNT,
    "--memory": Limit("a number above 0", math.ulp(0.0)),
    "--min-count": COUNT,
    "--nbest": COUNT,
    "--num-shards": COUNT,
    "--rounds": COUNT,
    "--samples": COUNT,
    "--temperature": TEMPERATURE,
    "--threads": COUNT,
    "--top-k": COUNT,
    "--unkpen": Limit("0 or more, or inf", 0, math.inf),
    "--window": COUNT,
    "--workers": COUNT,
}


def check_numbers(args: argparse.Namespace) -> None:
    """Raise one `UserError` that names every option with a number that is not finite or outside its range."""
    problems = []
    for name, given in vars(args).items():
        flag = f"--{name.replace('_', '-')}"
        for value in given if isinstance(given, list | tuple) else [given]:
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            limit = LIMITS.get(flag, WORD if isinstance(value, int) else FINITE)
            if not limit.least <= value <= limit.most:  # NaN is in no range
                problems.append(f"{flag} {value}: expected {limit.words}")
    if problems:
        raise UserError("; ".join(problems))
