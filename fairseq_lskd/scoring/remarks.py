"""Sentences about the rows of a table: the shares of the gap closed, and warnings about weak teachers."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from ..records.result import system_of
from .gap import UNDECIDED, Share
from .metrics import NAMES
from .taught import method_of, of_same_pair, plain_system, shares_of, teacher_of, trios

#: Scores by which a teacher is compared with undistilled students: the first that all records have.
_QUALITY = ("validation BLEU", "test BLEU")


def closed(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return one sentence per distilled system about the shares of the gap that it closes."""
    said = []
    for system, of in trios(records).items():
        plain, teacher = (_names(getattr(trio, kind) for trio in of) for kind in ("plain", "teacher"))
        shares, others = [], []
        for metric, share in shares_of(of).items():
            low, high = (statistics.fmean(getattr(trio, kind)[metric] for trio in of) for kind in ("plain", "teacher"))
            name, ends = NAMES[metric], f"{low:.1f} to {high:.1f}"
            if share.share is None:
                others.append(_no_share(share, f"in {name} ({ends})"))
            else:
                zero = share.interval is not None and share.interval[0] <= 0 <= share.interval[1]
                shares.append(f"{share} of the gap in {name} ({ends}{'; not significant' if zero else ''})")
        if shares:
            others.insert(0, f"{system} closes {' and '.join(shares)} between {plain} and its teacher {teacher}")
        elif others:
            others[0] = f"{system}, between {plain} and its teacher {teacher}: {others[0]}"
        if others:
            said.append("; ".join(others) + (" (one seed)" if len(of) == 1 else ""))
    return said


def _no_share(share: Share, gap: str) -> str:
    if str(share) == UNDECIDED:
        return f"the gap {gap} is not significantly different from 0, so the share is undecided"
    return f"there is no gap {gap}"


def warnings(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return warnings of models without a role, and of teachers no better than a student without a teacher.

    Teacher and student have the same seed. A teacher need not have students yet.
    """
    return _without_role(records) + _weak_teachers(records)


def _without_role(records: Sequence[dict[str, Any]]) -> list[str]:
    """Name teachers, and models that may be the plain student of a distilled one, without the label that says so."""
    firsts = {system_of(record): record for record in reversed(records)}
    alone = [
        each for each in firsts.values() if method_of(each) not in (None, "none") and not plain_system(each, firsts)
    ]
    teachers = {digest for record in records for digest in record.get("teacher_sha256") or ()}
    found = [
        system
        for system, of in firsts.items()
        if of.get("method") == "none" and of.get("role") is None and of.get("checkpoint_sha256") not in teachers
    ]
    untold = [
        system
        for system in dict.fromkeys(map(system_of, records))
        if firsts[system].get("role") is None and firsts[system].get("checkpoint_sha256") in teachers
    ]
    said = []
    if len(untold) > 1:
        said.append(
            f"warning: {', '.join(untold)} taught students and have no role. Label them role=teacher (--label of `lskd "
            "run` or `lskd record`), so that the table shows their label smoothing and compares them"
        )
    if not alone or not found:
        return said
    sizes = {f" and size={each['size']}" for each in alone if each.get("size") is not None}
    return [
        *said,
        f"warning: {', '.join(found)} had no teacher and has no role. If it is the student without a teacher, label it "
        f"role=student{sizes.pop() if len(sizes) == 1 else ''} (--label of `lskd run` or `lskd record`), so that "
        "distilled students are compared with it",
    ]


def without_plain(records: Sequence[dict[str, Any]]) -> list[str]:
    """Say which record is missing if students whose teacher is known have no share of the gap.

    It is not one of the `warnings`, because experiments may leave out the student without a teacher.
    """
    firsts = {system_of(record): record for record in reversed(records)}
    alone = [
        each
        for each in records
        if method_of(each) not in (None, "none") and not plain_system(each, firsts) and teacher_of(each, records)
    ]
    if not alone or any(record.get("role") is None for record in records):  # `warnings` ask for the role
        return []
    names, sizes = _names(alone).replace(" or ", ", "), {each.get("size") for each in alone} - {None}
    size = f" --size {sizes.pop()}" if len(sizes) == 1 else ""
    return [
        f"gap closed: not known for {names}. Expected a record of the student without a teacher, of the same size and "
        f"language pair, and found none: train it (scripts/train_teacher.sh{size}), score it, and add its result.json"
    ]


def _weak_teachers(records: Sequence[dict[str, Any]]) -> list[str]:
    pairs: dict[tuple[str, str], list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for teacher in (record for record in records if record.get("role") == "teacher"):
        for plain in (record for record in records if method_of(record) == "none"):
            if plain.get("seed") == teacher.get("seed") and of_same_pair(plain, teacher):
                pairs.setdefault((system_of(teacher), system_of(plain)), []).append((teacher, plain))
    said = []
    for (teacher_name, plain_name), both in pairs.items():
        found = [(kind, [(_quality(one, kind), _quality(other, kind)) for one, other in both]) for kind in _QUALITY]
        known = [(kind, scores) for kind, scores in found if all(None not in pair for pair in scores)]
        for kind, scores in known[:1]:
            worse = [
                f"{score:.1f} against {base:.1f}" + (f" (seed {one['seed']})" if one.get("seed") is not None else "")
                for (score, base), (one, other) in zip(scores, both, strict=True)
                if score <= base and (kind != "test BLEU" or one["signature"] == other["signature"])
            ]
            if worse:
                said.append(
                    f"warning: the teacher ({teacher_name}) is no better than the student without a teacher "
                    f"({plain_name}): {kind} {', '.join(worse)}. Train the teacher longer, make it larger, or make the "
                    "student smaller"
                )
    return said


def _quality(record: dict[str, Any], kind: str) -> Any:
    if kind == "validation BLEU":
        return record.get("validation_best") if record.get("validation_metric") == "bleu" else None
    return record.get("bleu")


def _names(records: Any) -> str:
    return " or ".join(dict.fromkeys(system_of(record) for record in records))
