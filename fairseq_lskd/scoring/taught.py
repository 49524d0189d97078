"""A student, the same student without a teacher, and its teacher: found in the records of a table, seed by seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from ..commands import option
from ..records.result import COLUMNS, system_of
from .gap import Share, share_of_gap
from .metrics import signature_key

#: Metrics of which a share is given, and the field of a row that has it.
SHARES = {metric: field for metric in COLUMNS if (field := f"{metric}_gap_closed") in COLUMNS}


class Trio(NamedTuple):
    """Records of one seed."""

    student: dict[str, Any]
    plain: dict[str, Any]
    teacher: dict[str, Any]


def method_of(record: Mapping[str, Any]) -> str | None:
    """How a student was taught; nothing of others."""
    return record.get("method") if record.get("role") == "student" else None


def plain_system(student: Mapping[str, Any], firsts: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The system of a student's size without a teacher: the first with its budget, else the first.

    Args:
        firsts: of every system, one record.
    """
    if method_of(student) in (None, "none"):
        return None
    plain = [name for name, of in firsts.items() if method_of(of) == "none" and of.get("size") == student.get("size")]
    return next((name for name in plain if budget(firsts[name]) == budget(student)), plain[0] if plain else None)


def budget(record: Mapping[str, Any]) -> tuple[str | None, ...]:
    """The most updates and epochs that its training was given, by its command line; None where there was no limit."""
    return tuple(option(record.get("command") or [], name) for name in ("--max-update", "--max-epoch"))


def teacher_of(student: Mapping[str, Any], records: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The record of the one model that taught a student: by its digest.

    In older records, which have none: the one whose folder its --teacher-path names; else, of the teachers beside it,
    the only one of its seed with the smoothing, and the size, that its labels say.

    None where there is no such record, as of an ensemble, or where several fit.
    """
    if digests := student.get("teacher_sha256"):
        found = [record for record in records if record.get("checkpoint_sha256") in digests]
        return found[0] if found and len(digests) == 1 else None
    teachers = [record for record in records if record.get("role") == "teacher"]
    path = option(student.get("command") or (), "--teacher-path")
    beside = [each for each in teachers if path and _folder(each) == PurePath(path).parent]
    if beside:
        return beside[-1]
    smoothing, size, home = student.get("teacher_smoothing"), student.get("teacher_size"), _folder(student).parent
    found = [
        record
        for record in teachers
        if record.get("seed") == student.get("seed")
        and record.get("teacher_smoothing") == smoothing is not None
        and (size is None or record.get("size") == size)
        and _folder(record).parent == home
    ]
    return found[0] if len(found) == 1 else None


def _folder(record: Mapping[str, Any]) -> PurePath:
    return PurePath(option(record.get("command") or (), "--save-dir") or "")


def trios(records: Sequence[dict[str, Any]]) -> dict[str, list[Trio]]:
    """Those of every system that has any, seed by seed; the seed of a student and of the plain one is the same."""
    firsts: dict[str, dict[str, Any]] = {}
    for record in records:
        firsts.setdefault(system_of(record), record)
    of_seed = {(system_of(record), record.get("seed")): record for record in records}
    found: dict[str, list[Trio]] = {}
    for record in records:
        name = plain_system(record, firsts)
        plain = of_seed.get((name, record.get("seed"))) if name else None
        teacher = teacher_of(record, records)
        if plain and teacher:
            found.setdefault(system_of(record), []).append(Trio(record, plain, teacher))
    return found


def shares_of(of: Sequence[Trio]) -> dict[str, Share]:
    """The share of the gap closed, by metric, of one system's trios; of metrics that all have, scored alike."""
    return {
        metric: share_of_gap(*([record[metric] for record in column] for column in zip(*of, strict=True)))
        for metric in SHARES
        if all(record.get(metric) is not None for trio in of for record in trio)
        and all(len({str(record.get(signature_key(metric))) for record in trio}) == 1 for trio in of)
    }


def add_shares(shown: Sequence[dict[str, Any]], records: Sequence[dict[str, Any]], over_seeds: bool) -> None:
    """Put a `Share` for each metric into the rows of a table, by `SHARES`.

    Args:
        shown: a row a record, which gets the share of its own seed; or, `over_seeds`, their `mean_records`.
        records: raw.
    """
    found = trios(records)
    keys = [(row["system"], None) for row in shown] if over_seeds else [(system_of(r), id(r)) for r in records]
    for row, (system, one) in zip(shown, keys, strict=True):
        if of := [trio for trio in found.get(system, []) if one in (None, id(trio.student))]:
            row |= {SHARES[metric]: share for metric, share in shares_of(of).items()}


def shares_as_numbers(records: Sequence[dict[str, Any]], over_seeds: bool) -> list[dict[str, float | None]]:
    """For each record the share of its seed, and `over_seeds` that of its system's seeds, with the interval's ends."""
    found = trios(records)
    numbers: list[dict[str, float | None]] = []
    for record in records:
        of = found.get(system_of(record), [])
        row: dict[str, float | None] = {}
        if own := [trio for trio in of if trio.student is record]:
            row |= {SHARES[metric]: share.share for metric, share in shares_of(own).items()}
        if over_seeds and len(of) > 1:
            for metric, share in shares_of(of).items():
                low, high = share.interval or (None, None)
                name = f"{SHARES[metric]}_over_seeds"
                row |= {name: share.share, f"{name}_low": low, f"{name}_high": high}
        numbers.append(row)
    return numbers


def share_label(row: Mapping[str, Any]) -> str:
    """How much of the gap in BLEU a row of `add_shares` closes, for a picture; "" where there is no share."""
    share = row.get(SHARES["bleu"])
    return f"{share} of the gap" if share is not None and share.share is not None else ""
