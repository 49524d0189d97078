"""What the rows of a table say in words: how much of its gap a student closes, and where there is none to close."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from .gap import UNDECIDED, Share
from .metrics import NAMES, signature_key
from .over_seeds import system_of
from .taught import budget, method_of, shares_of, trios

#: What a teacher is compared by with a student before others learn from it: the first that all have.
_QUALITY = {"valid_bleu": "validation BLEU", "bleu": "test BLEU"}


def closed(records: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence a taught system: the shares of the gap that it closes."""
    said = []
    for system, of in trios(records).items():
        plain, teacher = (_names(getattr(trio, kind) for trio in of) for kind in ("plain", "teacher"))
        shares, others = [], []
        for metric, share in shares_of(of).items():
            low, high = (statistics.fmean(getattr(trio, kind)[metric] for trio in of) for kind in ("plain", "teacher"))
            gap = f"in {NAMES[metric]} ({low:.1f} to {high:.1f})"
            if share.share is None:
                others.append(_no_share(share, gap))
            else:
                unclear = ", not clear of 0," if share.interval and share.interval[0] <= 0 <= share.interval[1] else ""
                shares.append(f"{share}{unclear} of the gap {gap}")
        if shares:
            others.insert(0, f"{system} closes {' and '.join(shares)} between {plain} and its teacher {teacher}")
        elif others:
            others[0] = f"{system}, between {plain} and its teacher {teacher}: {others[0]}"
        if others:
            said.append("; ".join(others) + (" (one seed)" if len(of) == 1 else ""))
    return said


def _no_share(share: Share, gap: str) -> str:
    if str(share) == UNDECIDED:
        return f"the gap {gap} is not clear of 0, so the share is undecided"
    return f"there is no gap {gap}"


def warnings(records: Sequence[dict[str, Any]]) -> list[str]:
    """What is wrong with the teachers or budgets of a table's rows.

    A teacher that is no better than a student without one, of the same seed; its students need not be there yet. And
    students who were trained longer than the one without a teacher.
    """
    return [*_no_better(records), *_other_budgets(records)]


def _no_better(records: Sequence[dict[str, Any]]) -> list[str]:
    pairs: dict[tuple[str, str], list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for teacher in (record for record in records if record.get("role") == "teacher"):
        for plain in (record for record in records if method_of(record) == "none"):
            if plain.get("seed") == teacher.get("seed"):
                pairs.setdefault((system_of(teacher), system_of(plain)), []).append((teacher, plain))
    said = []
    for (teacher_name, plain_name), both in pairs.items():
        known = [metric for metric in _QUALITY if all(r.get(metric) is not None for pair in both for r in pair)]
        if not known:
            continue
        metric = known[0]
        scores = [
            f"{one[metric]:.1f} against {other[metric]:.1f}"
            + (f" (seed {one['seed']})" if one.get("seed") is not None else "")
            for one, other in both
            if one[metric] <= other[metric] and one.get(signature_key(metric)) == other.get(signature_key(metric))
        ]
        if scores:
            said.append(
                f"warning: {teacher_name} is no better than {plain_name}, which has no teacher: {_QUALITY[metric]} "
                f"{', '.join(scores)}. A student has nothing to gain from such a teacher: train the teacher longer, or "
                "make it larger; or make the student smaller"
            )
    return said


def _other_budgets(records: Sequence[dict[str, Any]]) -> list[str]:
    found: dict[tuple[str, str, str], list[str]] = {}
    for system, of in trios(records).items():
        student, plain, _ = of[0]
        if budget(student) != budget(plain):
            found.setdefault((system_of(plain), budget(plain), budget(student)), []).append(system)
    return [
        f"warning: {plain} was trained with {one or 'another budget'}, {', '.join(systems)} with "
        f"{other or 'another budget'}: what a teacher is worth shows where both train as long"
        for (plain, one, other), systems in found.items()
    ]


def _names(records: Any) -> str:
    return " or ".join(dict.fromkeys(system_of(record) for record in records))
