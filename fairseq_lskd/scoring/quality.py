"""Is a better teacher's student better? Shen et al. (ICLR 2021), Fig. 8, over the result records of a folder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..analysis.bootstrap import Interval
from ..analysis.classes import ranks
from ..analysis.document import Picture, Section, Table
from ..analysis.intervals import unsure, verdict
from ..analysis.style import COLOURS, MARKERS, figure, styled
from ..errors import UserError
from ..files import find
from ..records.result import COLUMNS, SCORES, measured, read_results
from .taught import method_of, teacher_of

#: What can be compared.
METRICS = {key: COLUMNS[key] for key in measured(SCORES) if COLUMNS[key].better is not None}


@dataclass(frozen=True)
class Pair:
    """A student and its teacher, as `lskd score` recorded them."""

    teacher: dict[str, Any]
    student: dict[str, Any]

    @property
    def group(self) -> str:
        """What students are compared within: how they were taught."""
        taught = self.student
        parts = [f"{taught['method']} level{'s' * (taught['method'] == 'both')}"]
        # What is usual goes without saying.
        parts += [str(taught["strategy"])] if taught.get("strategy") not in (None, "1-best") else []
        parts += ["cached"] if taught.get("cached") in (True, "true") else []
        parts += [str(taught["size"])] if taught.get("size") not in (None, "student") else []
        parts += [f"T = {taught['temperature']}"] if taught.get("temperature") is not None else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of teachers' and students' quality within a group."""

    group: str
    teachers: int
    rho: Interval
    verdict: str  #: of the claim that it is above 0


def find_records(folder: Path) -> list[Path]:
    """Every result.json and results.json at or under `folder`."""
    return find(folder, "result.json", "results.json")


def has_pairs(folder: Path) -> bool:
    """Whether a student and its teacher have records in there; raises as `read_records` does of broken ones."""
    return bool(find_records(folder)) and bool(pair_up(read_records(folder))[0])


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The records in every result.json and results.json at or under `folder`, each model's once.

    Args:
        folder: or one such file.

    Raises:
        UserError: if there is none, or one is not what `lskd score` writes.
    """
    if not folder.exists():
        raise UserError(f"{folder}: no such file or folder")
    paths = [folder] if folder.is_file() else find_records(folder)
    found: dict[Any, dict[str, Any]] = {}
    for path in paths:
        for record in read_results(path):
            # The folder tells two runs of one name apart.
            key = record.get("checkpoint_sha256") or (record["system"], str(path))
            found.setdefault(key, record)
    if not found:
        raise UserError(f"{folder}: no result.json in there; `lskd score` (scripts/score.sh) writes one a run")
    return list(found.values())


def pair_up(records: Sequence[dict[str, Any]]) -> tuple[list[Pair], list[str]]:
    """Students with their teachers (`taught.teacher_of`), and the names of those whose teacher has no record."""
    pairs, alone = [], []
    for record in records:
        if method_of(record) in (None, "none"):
            continue
        teacher = teacher_of(record, [each for each in records if each.get("role") == "teacher"])
        if teacher is None:
            alone.append(record["system"])
        else:
            pairs.append(Pair(teacher, record))
    return pairs, alone


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation; ties have the mean of their ranks. NaN if either does not vary.

    Raises:
        ValueError: if they are not equally long.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values cannot be correlated")
    both = [ranks(torch.tensor(values, dtype=torch.float64)) for values in (first, second)]
    a, b = (rank - rank.mean() for rank in both)
    scale = (a.square().sum() * b.square().sum()).sqrt().item()
    return (a @ b).item() / scale if scale > 0 else math.nan


def spearman_interval(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Spearman's rank correlation with a 95 % interval: Fisher's z, its variance by Bonett & Wright (2000).

    At a perfect order z is infinite: it is taken half a step short of it, a step being the least that one exchange of
    neighbours changes the correlation. Of fewer than 5 values nothing is said.
    """
    rho, n = spearman(first, second), len(first)
    if n < 5 or math.isnan(rho):
        return unsure(rho)
    most = 1 - 6 / (n * (n * n - 1))
    z = math.atanh(max(-most, min(most, rho)))
    half = 1.96 * math.sqrt((1 + rho * rho / 2) / (n - 3))
    return Interval(rho, min(rho, math.tanh(z - half)), max(rho, math.tanh(z + half)))


def correlate(pairs: Sequence[Pair], metric: str = "bleu") -> list[Correlation]:
    """The rank correlation within every group of students that were taught in one way; a group needs two teachers.

    Students of one teacher are not independent of each other: their mean counts.
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
    """Teacher against student quality over the runs in a folder.

    Args:
        folder: with the result.json of teachers and of their students, or a results.json; metric: one of `METRICS`.

    Raises:
        UserError: if there is no student with its teacher in there, or the metric was not measured.
    """
    if metric not in METRICS:
        raise UserError(f"the quality {metric!r}: expected one of {', '.join(METRICS)}")
    pairs, alone = pair_up(read_records(folder))
    if not pairs:
        students = f" ({', '.join(alone)}: no record of their teachers)" if alone else ""
        raise UserError(f"{folder}: no record of a student and of its teacher in there{students}; score both")
    if lacking := sorted({r["system"] for p in pairs for r in (p.teacher, p.student) if r.get(metric) is None}):
        raise UserError(f"{folder}: no {metric} in the records of {', '.join(lacking)}")
    name, more = METRICS[metric].title, METRICS[metric].better
    found = correlate(pairs, metric)
    columns = ["students", "teacher", "teacher LS", f"teacher {name}", "student", f"student {name}"]
    rows = []
    for p in pairs:
        teacher, student = p.teacher, p.student
        smoothing = teacher.get("teacher_smoothing")
        rows.append((p.group, teacher["system"], smoothing, teacher[metric], student["system"], student[metric]))
    turned = "" if more else " (less is better, so both are turned round)"
    said = ["students", "teachers", "rank correlation", "95 % from", "to", "better teacher, better student"]
    ends = [(c, [_or_none(end) for end in (c.rho.value, c.rho.low, c.rho.high)]) for c in found]
    caption = (
        f"Spearman's rank correlation of teachers' and students' {name}{turned}; the mean of a teacher's students."
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
        said = f"A better teacher has the better student ({c.group}, {c.teachers} teachers, by {name}): {c.verdict}"
        yield f"{said}; rank correlation {c.rho.shown()}." if not math.isnan(c.rho.value) else f"{said}; no variation."
    if any(math.isnan(c.rho.low) for c in found) or not found:
        yield "Fewer than five teachers say nothing of a rank correlation: train some more, of other sizes and seeds."
    teachers = {id(pair.teacher) for pair in pairs}
    better = sum((p.student[metric] > p.teacher[metric]) == more for p in pairs)
    yield f"{len(teachers)} teachers, {len(pairs)} students, of which {better} better than their teacher."
    if alone:
        yield f"Left out, since there is no record of their teacher: {', '.join(alone)}."


@styled
def _draw(pairs: Sequence[Pair], metric: str) -> Any:
    name = METRICS[metric].title
    drawn = figure(4.6, 3.8)
    panel = drawn.subplots()
    for index, group in enumerate(dict.fromkeys(pair.group for pair in pairs)):
        # Hollow: a teacher without smoothing.
        for smoothed in (True, False):
            members = [p for p in pairs if p.group == group and bool(p.teacher.get("teacher_smoothing")) == smoothed]
            if members:
                colour = COLOURS[index % len(COLOURS)]
                panel.plot(
                    [p.teacher[metric] for p in members],
                    [p.student[metric] for p in members],
                    linestyle="none",
                    marker=MARKERS[index % len(MARKERS)],
                    color=colour,
                    markerfacecolor=colour if smoothed else "white",
                    label=f"{group}, {'smoothed' if smoothed else 'not smoothed'}",
                )
    panel.set_xlabel(f"teacher's {name}")
    panel.set_ylabel(f"student's {name}")
    panel.margins(0.12)
    panel.legend(fontsize=7, title="students by their teacher", title_fontsize=7)
    return drawn
