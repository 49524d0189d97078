"""The first section: the recommendation and the verdicts of all claims."""

from __future__ import annotations

from collections import Counter

from ..document import Section, Table
from ..intervals import HELD, NOT_HELD, NOT_MEASURED, UNDECIDED
from ..system import unlike
from .findings import Findings

COLUMNS = ("claim", "source", "verdict", "value [95 % interval]", "measured quantity", "value", "low", "high")


def answer(found: Findings) -> Section:
    """Return the section with the recommendation, and each claim with its verdict and interval."""
    advice = found.advice
    words = [advice.headline, *advice.reasons]
    tables: list[Table] = []
    for comparison, judged in zip(found.comparisons, found.judged, strict=True):
        base, other = comparison.base, comparison.other
        verdicts = Counter(claim.verdict for claim in judged)
        counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in (HELD, NOT_HELD, UNDECIDED))
        if verdicts[NOT_MEASURED]:
            counts += f", {verdicts[NOT_MEASURED]} {NOT_MEASURED}"
        words.append(f"Claims about label smoothing, {other.name} compared with {base.name}: {counts}.")
        if differs := unlike(other.trained, base.trained):
            words.append(
                f"{other.name} and {base.name} differ in more than label smoothing: {differs}. So the verdicts do not "
                "show what smoothing does. Train teachers that differ in it alone."
            )
        if not comparison.smoother:
            words.append(
                f"The label smoothing of {other.name} is not known to be higher than that of {base.name}. The claims "
                "are worded as if it were, but the verdicts only say how the two models differ."
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
        caption = f"Claims about {other.name} compared with {base.name}, on {found.split}."
        tables.append(Table(f"claims{suffix}", caption, COLUMNS, rows))
    return Section("The answer", words, tables)
