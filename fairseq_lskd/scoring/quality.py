"""Whether better teachers have better students: Shen et al. (ICLR 2021), Figure 8, from result records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..analysis.bootstrap import Interval
from ..analysis.classes import rank_correlation
from ..analysis.document import Picture, Section, Table
from ..analysis.intervals import unsure, verdict
from ..analysis.style import figure, look, styled
from ..errors import UserError
from ..files import find
from ..records.result import COLUMNS, SCORES, measured, pairs_of, read_results
from .taught import cached_as, method_of, teacher_of

#: Fewer values than this have no interval.
LEAST = 5
#: Metrics that can be compared.
METRICS = {key: COLUMNS[key] for key in measured(SCORES) if COLUMNS[key].better is not None}


#: What a group's students have in common: key of a row -> how the group's name has it, and the value it leaves out.
_GROUPED: dict[str, tuple[str, Any]] = {
    "strategy": ("{}", "1-best"),
    "score_temperature": ("score T = {}", 1.0),
    "reference_weight": ("reference weight {}", None),
    "cached": ("{}", None),
    "kd_rest": ("{}", "class"),
    "size": ("{}", "student"),
    "pairs": ("{} pairs", None),
    "temperature": ("T = {}", None),
    "kd_weight": ("weight {}", None),
    "divergence": ("{}", "forward_kl"),
    "label_smoothing": ("own LS {}", 0.0),
}


@dataclass(frozen=True)
class Pair:
    """The records of a student and its teacher."""

    teacher: dict[str, Any]
    student: dict[str, Any]
    languages: str | None = None  #: language pair of the test set, if there are several

    @property
    def group(self) -> str:
        """How the student was taught. Students are compared within a group."""
        taught = self.student
        parts = [f"{taught['method']} level{'s' * (taught['method'] == 'both')}"]
        parts += [self.languages] if self.languages else []
        for key, (form, usual) in _GROUPED.items():
            value = _cached(taught) if key == "cached" else taught.get(key)
            if value is not None and value != usual:  # the name leaves out usual values
                parts.append(form.format(value))
        return ", ".join(parts)


def _cached(taught: Mapping[str, Any]) -> str | None:
    """Return what the teacher's cache has, or how many types the loss compares; None: no cache, and all types."""
    found = cached_as(taught)
    if found in (None, False, "false"):
        return None
    if found is True:
        return "cached"
    cached = "cached " * (taught.get("cached") not in (None, False, "false"))
    return cached + (f"top {found}" if isinstance(found, int) else found.removeprefix("not, "))


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of the quality of teachers and students within a group."""

    group: str
    teachers: int
    rho: Interval
    verdict: str  #: verdict of the claim that the correlation is positive


def find_records(folder: Path) -> list[Path]:
    return find(folder, "result.json", "results.json")


def has_pairs(folder: Path) -> bool:
    """Return whether a folder has the records of a student and its teacher; raise as `read_records`."""
    return bool(find_records(folder)) and bool(pair_up(read_records(folder))[0])


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Read the records of all result.json and results.json at or under `folder`, one per model and language pair.

    Args:
        folder: a folder or one file.

    Raises:
        UserError: if there is no record, or a file has something else.
    """
    if not folder.exists():
        raise UserError(f"{folder}: no such file or folder")
    paths = [folder] if folder.is_file() else find_records(folder)
    found: dict[Any, dict[str, Any]] = {}
    for path in paths:
        for record in read_results(path):
            # Without a digest, runs with equal names are told apart by their folders.
            key = record.get("checkpoint_sha256") or (record["system"], str(path))
            found.setdefault((key, record.get("pair")), record)
    if not found:
        raise UserError(f"{folder}: found no result.json; write one per run with `lskd record` or scripts/score.sh")
    return list(found.values())


def pair_up(records: Sequence[dict[str, Any]]) -> tuple[list[Pair], list[str]]:
    """Pair students with their teachers (`taught.teacher_of`).

    Returns:
        The pairs, and the names of the students whose teacher has no record.
    """
    pairs, alone = [], []
    several = len(pairs_of(records)) > 1
    for record in records:
        if method_of(record) in (None, "none"):
            continue
        teacher = teacher_of(record, records)
        if teacher is None:
            alone.append(record["system"])
        else:
            pairs.append(Pair(teacher, record, record.get("pair") if several else None))
    return pairs, alone


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's rank correlation, with mean ranks for ties; NaN if all values of either side are equal.

    Raises:
        ValueError: if the lengths differ.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values cannot be correlated")
    a, b = (torch.tensor(values, dtype=torch.float64) for values in (first, second))
    return rank_correlation(a, b).item()


def spearman_interval(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Return Spearman's rank correlation with a 95 % interval: Fisher's z with the variance of Bonett & Wright (2000).

    z is infinite for a correlation of +-1. It is computed half a step below instead. A step is the smallest change of
    the correlation by an exchange of neighbours. With fewer than 5 values there is no interval.
    """
    rho, n = spearman(first, second), len(first)
    if n < LEAST or math.isnan(rho):
        return unsure(rho)
    most = 1 - 6 / (n * (n * n - 1))
    z = math.atanh(max(-most, min(most, rho)))
    half = 1.96 * math.sqrt((1 + rho * rho / 2) / (n - 3))
    return Interval(rho, min(rho, math.tanh(z - half)), max(rho, math.tanh(z + half)))


def correlate(pairs: Sequence[Pair], metric: str = "bleu") -> list[Correlation]:
    """Return the rank correlation within each group of students with at least two teachers.

    The students of one teacher are not independent, so their mean counts as one value.
    """
    sign = 1 if METRICS[metric].better else -1
    found = []
    for group in dict.fromkeys(pair.group for pair in pairs):
        students: dict[int, list[float]] = {}
        teachers: dict[int, float] = {}
        for pair in pairs:
            if pair.group == group:
                teachers[id(pair.teacher)] = sign * pair.teacher[metric]
                students.setdefault(id(pair.teacher), []).append(sign * pair.student[metric])
        if len(teachers) > 1:
            means = [math.fsum(values) / len(values) for values in students.values()]
            rho = spearman_interval([teachers[each] for each in students], means)
            found.append(Correlation(group, len(teachers), rho, verdict(rho)))
    return found


def section(folder: Path, metric: str = "bleu") -> Section:
    """Return the section on the quality of teachers and their students.

    Args:
        folder: a folder with the result.json of teachers and students, or a results.json.
        metric: one of `METRICS`.

    Raises:
        UserError: if no student has a teacher among the records, or a record lacks the metric.
    """
    if metric not in METRICS:
        raise UserError(f"found the metric {metric!r}, expected one of {', '.join(METRICS)}")
    pairs, alone = pair_up(read_records(folder))
    if not pairs:
        students = f" (the teachers of {', '.join(alone)} have no record)" if alone else ""
        raise UserError(
            f"{folder}: found no records of a student and its teacher{students}; write both with `lskd record` or "
            "scripts/score.sh"
        )
    if lacking := sorted({r["system"] for p in pairs for r in (p.teacher, p.student) if r.get(metric) is None}):
        raise UserError(f"{folder}: found no {metric} in the records of {', '.join(lacking)}; score them with it")
    name, more = METRICS[metric].title, METRICS[metric].better
    found = correlate(pairs, metric)
    columns = ["students", "teacher", "teacher LS", f"teacher {name}", "student", f"student {name}"]
    rows = []
    for p in pairs:
        teacher, student = p.teacher, p.student
        smoothing = teacher.get("teacher_smoothing")
        rows.append((p.group, teacher["system"], smoothing, teacher[metric], student["system"], student[metric]))
    turned = "" if more else " (lower is better, so both signs are reversed)"
    said = ["students", "teachers", "rank correlation", "95 % from", "to", "better teachers have better students"]
    ends = [(c, [_or_none(end) for end in (c.rho.value, c.rho.low, c.rho.high)]) for c in found]
    caption = (
        f"Spearman's rank correlation of the {name} of teachers and students{turned}. The students of one teacher "
        "count as their mean."
    )
    return Section(
        "Teacher against student quality",
        list(_words(found, pairs, alone, metric)),
        [
            Table("quality_correlation", caption, said, [(c.group, c.teachers, *e, c.verdict) for c, e in ends]),
            Table("quality", f"{name} of teachers and their students.", columns, rows),
        ],
        [Picture("quality", f"Students' {name} against their teachers'.", _draw(pairs, metric), "quality")],
    )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def _words(found: Sequence[Correlation], pairs: Sequence[Pair], alone: Sequence[str], metric: str) -> Iterator[str]:
    name, more = METRICS[metric].title, METRICS[metric].better
    for c in found:
        said = f"Better teachers have better students ({c.group}, {c.teachers} teachers, by {name}): {c.verdict}"
        yield f"{said}; rank correlation {c.rho.shown()}." if not math.isnan(c.rho.value) else f"{said}; no variation."
    if any(c.teachers < LEAST for c in found) or not found:
        yield "A rank correlation needs at least five teachers: train more, with other sizes or seeds."
    teachers = {id(pair.teacher) for pair in pairs}
    better = sum((p.student[metric] > p.teacher[metric]) == more for p in pairs)
    yield f"{len(teachers)} teachers and {len(pairs)} students; {better} of the students are better than their teacher."
    if alone:
        yield f"Left out, because their teachers have no record: {', '.join(alone)}."


@styled
def _draw(pairs: Sequence[Pair], metric: str) -> Any:
    name = METRICS[metric].title
    drawn = figure(4.6, 3.8)
    panel = drawn.subplots()
    for index, group in enumerate(dict.fromkeys(pair.group for pair in pairs)):
        # Hollow markers: teachers without label smoothing.
        for smoothed in (True, False):
            members = [p for p in pairs if p.group == group and bool(p.teacher.get("teacher_smoothing")) == smoothed]
            if members:
                panel.plot(
                    [p.teacher[metric] for p in members],
                    [p.student[metric] for p in members],
                    linestyle="none",
                    label=f"{group}, {'smoothed' if smoothed else 'unsmoothed'} teacher",
                    **look(index) | ({} if smoothed else {"markerfacecolor": "white"}),
                )
    panel.set_xlabel(f"{name} of the teacher")
    panel.set_ylabel(f"{name} of the student")
    panel.margins(0.12)
    panel.legend(fontsize=7)
    return drawn
