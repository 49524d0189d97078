"""The recommendation: which teacher to distil from, at which temperature, how sure, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .claims import CHANDRASEGARAN, RELATIONS, SHEN, Claim
from .compare import Comparison, quality_difference
from .intervals import HELD
from .system import System
from .terms import TRANSLATION, Terms

SURE, LEANING, OPEN, ALONE = "sure", "leaning", "undecided", "alone"
AT_ANY = "temperature undecided"
CAUTION = (
    "The intervals cover the noise of this split, not that of training: another seed changes a model too. Train each "
    "teacher and student with at least three seeds before a decision that matters."
)


@dataclass(frozen=True)
class Advice:
    """A recommendation and its reasons."""

    teacher: str
    temperature: float
    confidence: str
    reasons: Sequence[str]

    @property
    def headline(self) -> str:
        """The recommendation in a sentence or two."""
        at = f"at temperature {self.temperature:g}"
        return {
            SURE: f"Distil from {self.teacher} {at}.",
            LEANING: f"Distil from {self.teacher} {at}. The evidence is weak.",
            ALONE: f"Distil from {self.teacher} {at}. It is the only teacher, so nothing was compared.",
            AT_ANY: f"Undecided between the temperatures of the students of {self.teacher}, the only teacher. The best "
            f"guess is temperature {self.temperature:g}.",
            OPEN: f"Undecided between the teachers. The best guess is {self.teacher} {at}.",
        }[self.confidence]


def advise(
    teachers: Sequence[System],
    comparisons: Sequence[Comparison],
    judged: Sequence[Sequence[Claim]],
    students: Sequence[System],
    terms: Terms = TRANSLATION,
) -> Advice:
    """Recommend a teacher by its students if comparable students were measured, else by the teachers themselves.

    Args:
        teachers: all teachers; the first is the base of every comparison.
        comparisons: comparisons of each other teacher with the base.
        judged: the claims of each comparison.
        students: students of the teachers.
        terms: terms of the report.
    """
    mine = [student for student in students if student.taught_by in {teacher.name for teacher in teachers}]
    if len(teachers) == 1:
        return _of_one_teacher(teachers[0], mine)
    compared = _best_with_a_rival(mine, lambda student: student.taught_by)
    if compared is None:
        return _from_teachers(teachers, comparisons, judged, mine, terms)
    return _from_students(teachers, *compared)


def _best_with_a_rival(students: Sequence[System], differs: Callable[[System], Any]) -> tuple[System, System] | None:
    """Return the best student that has a rival, and its best rival: same setting, but another value of `differs`."""

    def rivals(one: System) -> list[System]:
        return [other for other in students if other.setting == one.setting and differs(other) != differs(one)]

    best = max(filter(rivals, students), key=_accuracy, default=None)
    return None if best is None else (best, max(rivals(best), key=_accuracy))


def _of_one_teacher(teacher: System, students: Sequence[System]) -> Advice:
    """Recommend a temperature: that of the best student, compared with students of the same setting."""
    compared = _best_temperature(teacher, students)
    if compared is None:
        temperature, reason = _temperature(teacher, students)
        return Advice(teacher.name, temperature, ALONE, [reason])
    best = compared[0]
    sure, reasons = _beside(*compared)
    return Advice(teacher.name, best.temperature or 1.0, SURE if sure else AT_ANY, [*reasons, CAUTION])


def _best_temperature(teacher: System, students: Sequence[System]) -> tuple[System, System] | None:
    known = [student for student in students if student.taught_by == teacher.name and student.temperature is not None]
    return _best_with_a_rival(known, lambda student: student.temperature)


def _from_students(teachers: Sequence[System], best: System, rival: System) -> Advice:
    teacher = next(teacher for teacher in teachers if teacher.name == best.taught_by)
    temperature = 1.0 if best.temperature is None else best.temperature
    sure, reasons = _beside(best, rival)
    if best.temperature is None:
        reasons.append(_temperature(teacher, [])[1])
    return Advice(teacher.name, temperature, SURE if sure else OPEN, [*reasons, CAUTION])


def _beside(best: System, rival: System) -> tuple[bool, list[str]]:
    """Return whether the best student is significantly better than its rival, and the reasons in words."""
    gain = quality_difference(rival, best, "accuracy")
    reasons = [
        f"Its student {best.name} predicts {100 * _accuracy(best):.2f} % of the tokens correctly. The best comparable "
        f"student, {rival.name}, predicts {100 * _accuracy(rival):.2f} %: a difference of "
        f"{gain.shown(2, sign=True, factor=100)} points."
    ]
    if gain.sign <= 0:
        reasons.append("The interval contains 0: on this split, the students are not significantly different.")
    return gain.sign > 0, reasons


def _accuracy(system: System) -> float:
    return system.quality.values["accuracy"]


def _temperature(teacher: System, students: Sequence[System]) -> tuple[float, str]:
    if compared := _best_temperature(teacher, students):
        best = compared[0]
        return best.temperature or 1.0, f"Its best student, {best.name}, has temperature {best.temperature:g}."
    if teacher.smoothing:
        return 1.0, (
            "Temperature 1 is the default, because there are no students with different temperatures. Higher "
            f"temperatures are not recommended for smoothed teachers ({CHANDRASEGARAN})."
        )
    return 1.0, (
        f"Temperature 1 is the default, as in the experiments of {SHEN}, because there are no students with different "
        "temperatures."
    )


def _from_teachers(
    teachers: Sequence[System],
    comparisons: Sequence[Comparison],
    judged: Sequence[Sequence[Claim]],
    students: Sequence[System],
    terms: Terms,
) -> Advice:
    best = max(teachers, key=_accuracy)
    others = [teacher for teacher in teachers if teacher is not best]
    gains = [quality_difference(other, best, "accuracy") for other in others]
    reasons = [
        f"{best.name} predicts {100 * _accuracy(best):.2f} % of the {terms.tokens} correctly{terms.forced}, "
        f"{other.name} {100 * _accuracy(other):.2f} %: a difference of "
        f"{gain.shown(2, sign=True, factor=100)} points."
        for other, gain in zip(others, gains, strict=True)
    ]
    if all(gain.sign > 0 for gain in gains):
        reasons.append(f"Better teachers have better students, though not proportionally ({SHEN}, Fig. 8).")
        chosen, confidence = best, LEANING
    else:
        reasons.append(
            "An interval contains 0: on this split, the best teacher is not significantly better than all others."
        )
        chosen, confidence = _by_claims(teachers, comparisons, judged, best, reasons, terms)
    temperature, why = _temperature(chosen, students)
    reasons += [
        why,
        "Only students of different teachers, taught in the same way, can settle the question, and there was no such "
        f"pair: {terms.settled_by}.",
        CAUTION,
    ]
    return Advice(chosen.name, temperature, confidence, reasons)


def _by_claims(
    teachers: Sequence[System],
    comparisons: Sequence[Comparison],
    judged: Sequence[Sequence[Claim]],
    best: System,
    reasons: list[str],
    terms: Terms,
) -> tuple[System, str]:
    """Choose a teacher of similar accuracy that is smoother, separates similar classes more and keeps relations."""
    for comparison, verdicts in zip(comparisons, judged, strict=True):
        apart = comparison.similar is not None and comparison.similar.sign > 0
        stay = any(claim.verdict == HELD for claim in verdicts if claim.says == RELATIONS)
        if comparison.smoother and apart and stay and comparison.accuracy.sign >= 0:
            reasons.append(
                f"{comparison.other.name} separates similar {terms.kinds} more, and relates the {terms.kinds} to each "
                f"other as {comparison.base.name} does: smoothing did not erase what distinguishes them ({SHEN}, "
                "section 3)."
            )
            return comparison.other, LEANING
    return best, OPEN
