"""Find, for each distilled student and seed, the records of its teacher and of the student without a teacher."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from ..commands import option
from ..records.result import COLUMNS, system_of
from .gap import Share, share_of_gap
from .metrics import signature_key

#: Metric -> key of its share of the gap in a row.
SHARES = {metric: field for metric in COLUMNS if (field := f"{metric}_gap_closed") in COLUMNS}


class Trio(NamedTuple):
    """The records of a student, the same student without a teacher, and the teacher."""

    student: dict[str, Any]
    plain: dict[str, Any]
    teacher: dict[str, Any]


def method_of(record: Mapping[str, Any]) -> str | None:
    """Return how a student was taught; None if the record is not a student's."""
    return record.get("method") if record.get("role") == "student" else None


def cached_as(record: Mapping[str, Any]) -> Any:
    """Return the label "cached" with what is cached: the number of types, or the bytes of an unbiased cache.

    Older records have no number.
    """
    if (cached := record.get("cached")) in (None, False, "false"):  # labels in a command are words
        return f"not, top {record['kd_top_k']}" if record.get("kd_top_k") else cached
    return f"{record['cache_bytes']} bytes" if record.get("cache_bytes") else record.get("kd_top_k", True)


def plain_system(student: Mapping[str, Any], firsts: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the name of the system of a student's size without a teacher, if possible with its budget.

    It was trained on as many language pairs, and tested on the same one.

    Args:
        firsts: one record of every system.
    """
    if method_of(student) in (None, "none"):
        return None
    plain = [
        name
        for name, of in firsts.items()
        if method_of(of) == "none"
        and all(of.get(key) == student.get(key) for key in ("size", "pairs"))
        and unnamed_size(of) == unnamed_size(student)
        and of_same_pair(of, student)
    ]
    return next((name for name in plain if budget(firsts[name]) == budget(student)), plain[0] if plain else None)


def unnamed_size(record: Mapping[str, Any]) -> int | None:
    """Return the number of parameters of a model whose size has no name; None if it has one.

    The training scripts name the size. A training by plain fairseq-train has no name for it.
    """
    return None if record.get("size") else record.get("parameters")


def of_same_pair(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether records are of tests of one language pair. Older records do not have it."""
    pairs = {record["pair"] for record in (one, other) if record.get("pair")}
    return len(pairs) < 2


def budget(record: Mapping[str, Any]) -> tuple[str | None, ...]:
    """Return the limits of updates and epochs in the command of a record; None: no limit.

    A record of plain fairseq-train has no command, but the limit of updates.
    """
    if not (command := record.get("command")):
        return (str(limit) if (limit := record.get("max_updates")) else None, None)
    return tuple(option(command, name) for name in ("--max-update", "--max-epoch"))


def teacher_of(student: Mapping[str, Any], records: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the record of a student's teacher, found by the digest of its checkpoint.

    A multilingual teacher has a record for each language pair, so that of the student's pair is taken.

    Older records have no digest. For them the teacher is the one in the folder of --teacher-path, or else the only one
    next to the student's folder that has the student's seed, and the label smoothing and size in the student's labels.

    Return None if there is no such record, if several fit, or if the teacher is an ensemble.
    """
    records = [record for record in records if of_same_pair(student, record)]
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
    """Return the trios of every system that has any, one per seed. Student and plain student have the same seed."""
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
    """Return the share of the gap closed by a system, for each metric that all records have with one signature."""
    return {
        metric: share_of_gap(*([record[metric] for record in column] for column in zip(*of, strict=True)))
        for metric in SHARES
        if all(record.get(metric) is not None for trio in of for record in trio)
        and all(len({str(record.get(signature_key(metric))) for record in trio}) == 1 for trio in of)
    }


def add_shares(shown: Sequence[dict[str, Any]], records: Sequence[dict[str, Any]], over_seeds: bool) -> None:
    """Add a `Share` for each metric to the rows of a table, under the keys of `SHARES`.

    Args:
        shown: the rows: one per record, which gets the share of its own seed; or, with `over_seeds`, `mean_records`.
        records: the records themselves.
    """
    found = trios(records)
    keys = [(row["system"], None) for row in shown] if over_seeds else [(system_of(r), id(r)) for r in records]
    for row, (system, one) in zip(shown, keys, strict=True):
        if of := [trio for trio in found.get(system, []) if one in (None, id(trio.student))]:
            row |= {SHARES[metric]: share for metric, share in shares_of(of).items()}


def shares_as_numbers(records: Sequence[dict[str, Any]], over_seeds: bool) -> list[dict[str, float | None]]:
    """Return the share of each record; with `over_seeds`, also that of its system with the ends of the interval."""
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
    """Return the label of a row's share of the gap in BLEU for a plot; "" if there is no share."""
    share = row.get(SHARES["bleu"])
    return f"{share} of the gap" if share is not None and share.share is not None else ""
