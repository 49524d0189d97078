"""The answer, before anything else."""

from __future__ import annotations

from collections import Counter

from ..document import Section, Table
from ..intervals import HELD, NOT_HELD, UNDECIDED
from .findings import Findings

COLUMNS = ("claim", "source", "verdict", "interval (95 %)", "what is measured", "value", "low", "high")


def answer(found: Findings) -> Section:
    """Advice in words, then each claim with its verdict and interval."""
    advice = found.advice
    words = [advice.headline, *advice.reasons]
    tables: list[Table] = []
    for comparison, judged in zip(found.comparisons, found.judged, strict=True):
        base, other = comparison.base, comparison.other
        verdicts = Counter(claim.verdict for claim in judged)
        counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in (HELD, NOT_HELD, UNDECIDED))
        words.append(f"Of the claims about label smoothing, {other.name} against {base.name}: {counts}.")
        if not comparison.smoother:
            words.append(
                f"{other.name} is not known to be trained with more label smoothing than {base.name}: the verdicts "
                "read as if it were, and say no more than how the two differ."
            )
        rows = [
            (
                claim.says,
                claim.source,
                claim.verdict,
                claim.shown,
                claim.measured,
                *((c.value, c.low, c.high) if (c := claim.found) else (None, None, None)),
            )
            for claim in judged
        ]
        suffix = "" if len(found.comparisons) == 1 else f"-{len(tables) + 1}"
        caption = f"The claims, {other.name} against {base.name}, on {found.split}."
        tables.append(Table(f"claims{suffix}", caption, COLUMNS, rows))
    return Section("The answer", words, tables)
