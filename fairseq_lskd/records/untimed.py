"""Check that two results.json have the same rows except for times (used by scripts/check_experiment.sh).

Usage: python -m fairseq_lskd.records.untimed KILLED.json WHOLE.json
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..differing import what_differs
from ..errors import UserError, exit_on_user_error
from .result import COLUMNS, COST, read_results

#: Keys that may differ. Digests are among them: fairseq's checkpoints hold times and uninitialised parameters.
TIMES = {"sentences_per_second", "speed_machine", "speed_others_cores", "checkpoint_sha256", "teacher_sha256"}
TIMES |= {key for key, column in COLUMNS.items() if column.part == COST}


def untimed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without the keys in `TIMES`."""
    return {key: untimed(value) if isinstance(value, dict) else value for key, value in row.items() if key not in TIMES}


def compare(one: Path, other: Path) -> int:
    """Return the number of rows.

    Raises:
        UserError: if the files differ in anything but times. The message lists all differences.
    """
    rows = [[untimed(row) for row in read_results(path)] for path in (one, other)]
    differing = [
        f"{first['system']}: {line}"
        for first, second in zip(*rows, strict=False)
        for line in what_differs(first, second, here=f"in {other}")
    ]
    if rows[0] != rows[1]:
        raise UserError(
            "\n  ".join([f"the tables differ: {one} has {len(rows[0])} rows, {other} has {len(rows[1])}", *differing])
        )
    return len(rows[0])


if __name__ == "__main__":
    with exit_on_user_error("check_experiment.sh"):
        systems = compare(Path(sys.argv[1]), Path(sys.argv[2]))
        print(f"{systems} systems: the tables are equal to the last digit (times are not compared)")
