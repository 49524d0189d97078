"""Whether two results.json have the same rows but for times, as scripts/check_experiment.sh asks.

python -m fairseq_lskd.records.untimed KILLED.json WHOLE.json
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..differing import what_differs
from ..errors import UserError, exit_on_user_error
from .result import COLUMNS, COST, read_results

#: A checkpoint of fairseq's holds times, and parameters that nothing sets or uses.
TIMES = {"sentences_per_second", "speed_machine", "speed_others_cores", "checkpoint_sha256", "teacher_sha256"}
TIMES |= {key for key, column in COLUMNS.items() if column.part == COST}


def untimed(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without them."""
    return {key: untimed(value) if isinstance(value, dict) else value for key, value in row.items() if key not in TIMES}


def compare(one: Path, other: Path) -> int:
    """The number of rows; `UserError` if they differ, with all that does."""
    rows = [[untimed(row) for row in read_results(path)] for path in (one, other)]
    differing = [
        f"{first['system']}: {line}"
        for first, second in zip(*rows, strict=False)
        for line in what_differs(first, second, here=f"in {other}")
    ]
    if rows[0] != rows[1]:
        raise UserError(
            "\n  ".join([f"the tables differ: {one} has {len(rows[0])} rows, {other} {len(rows[1])}", *differing])
        )
    return len(rows[0])


if __name__ == "__main__":
    with exit_on_user_error("check_experiment.sh"):
        print(f"{compare(Path(sys.argv[1]), Path(sys.argv[2]))} systems: the same table, to the last digit")
