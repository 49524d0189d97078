"""The answer in words: which teacher to distil from, at which temperature, how sure, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .claims import CHANDRASEGARAN, SHEN, Claim
from .compare import Comparison, quality_difference
from .intervals import HELD
from .system import System
from .terms import TRANSLATION, Terms

SURE, LEANING, OPEN, ALONE = "sure", "leaning", "undecided", "alone"
AT_ANY = "temperature undecided"
CAUTION = (
    "The intervals hold the noise of this split, not that of training: another seed of the same recipe moves a "
    "model as well. Train each teacher and student with three seeds before a choice that matters."
)


@dataclass(frozen=True)
class Advice:
    """What to do, and why."""

    teacher: str
    temperature: float
    confidence: str
    reasons: Sequence[str]

    @property
    def headline(self) -> str:
        """One sentence."""
        at = f"at temperature {self.temperature:g}"
        return {
            SURE: f"Distil from {self.teacher}, {at}.",
            LEANING: f"Distil from {self.teacher}, {at}; the evidence leans that way.",
            ALONE: f"There is one teacher, and nothing to compare it with. Distil from {self.teacher}, {at}.",
            AT_ANY: f"There is one teacher, {self.teacher}, and between its students' temperatures it is undecided; if "
            f"one must be taken, {self.temperature:g}.",
            OPEN: f"Undecided between the teachers; if one must be taken, {self.teacher}, {at}.",
        }[self.confidence]


def advise(
    teachers: Sequence[System],
    comparisons: Sequence[Comparison],
    judged: Sequence[Sequence[Claim]],
    students: Sequence[System],
    terms: Terms = TRANSLATION,
) -> Advice:
    """Weigh what was measured: students first, else the teachers themselves.

    Args:
        teachers: the first is the base of every comparison.
        comparisons: of each other teacher with it; judged: the claims of each.
    """
    mine = [student for student in students if student.taught_by in {teacher.name for teacher in teachers}]
    if len(teachers) == 1:
        return _of_one_teacher(teachers[0], mine)
    compared = _best_with_a_rival(mine, lambda student: student.taught_by)
    if compared is None:
        return _from_teachers(teachers, comparisons, judged, mine, terms)
    return _from_students(teachers, *compared)


def _best_with_a_rival(students: Sequence[System], differs: Callable[[System], Any]) -> tuple[System, System] | None:
    """The best student that has a rival, and its best rival: one taught alike, where `differs` is another."""

    def rivals(one: System) -> list[System]:
        return [other for other in students if other.setting == one.setting and differs(other) != differs(one)]

    best = max(filter(rivals, students), key=_accuracy, default=None)
    return None if best is None else (best, max(rivals(best), key=_accuracy))


def _of_one_teacher(teacher: System, students: Sequence[System]) -> Advice:
    """What is left to choose is the temperature: that of the best student, beside those taught alike at another."""
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
    """Whether the best student is surely better than the next, and in words."""
    gain = quality_difference(rival, best, "accuracy")
    reasons = [
        f"Its student {best.name} predicts {100 * _accuracy(best):.2f} % of the tokens, the best that was taught alike "
        f"otherwise, {rival.name}, {100 * _accuracy(rival):.2f} %: a difference of "
        f"{gain.shown(2, sign=True, factor=100)} points."
    ]
    if gain.sign <= 0:
        reasons.append("The interval holds 0: on this split the students cannot be told apart.")
    return gain.sign > 0, reasons


def _accuracy(system: System) -> float:
    return system.quality.values["accuracy"]


def _temperature(teacher: System, students: Sequence[System]) -> tuple[float, str]:
    if compared := _best_temperature(teacher, students):
        best = compared[0]
        return best.temperature or 1.0, f"Temperature {best.temperature:g}: that of its best student, {best.name}."
    if teacher.smoothing:
        return 1.0, (
            f"Temperature 1: no students at several temperatures were given, and from a smoothed teacher higher ones "
            f"are advised against ({CHANDRASEGARAN})."
        )
    return 1.0, f"Temperature 1, that of the paper's experiments ({SHEN}): no students at several were given."


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
        f"{best.name} predicts {100 * _accuracy(best):.2f} % of the {terms.tokens}{terms.forced}, "
        f"{other.name} {100 * _accuracy(other):.2f} %: a difference of "
        f"{gain.shown(2, sign=True, factor=100)} points."
        for other, gain in zip(others, gains, strict=True)
    ]
    if all(gain.sign > 0 for gain in gains):
        reasons.append(f"The better teacher distils the better student, though not in proportion ({SHEN}, Fig. 8).")
        chosen, confidence = best, LEANING
    else:
        reasons.append("The interval holds 0: in accuracy the best cannot be told from all others on this split.")
        chosen, confidence = _by_claims(teachers, comparisons, judged, best, reasons, terms)
    temperature, why = _temperature(chosen, students)
    reasons += [
        why,
        "No students of different teachers that were taught alike were measured, and they alone can settle it: "
        f"{terms.settled_by}.",
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
    """Where accuracy does not decide: a smoother teacher whose classes are further apart and related as before."""
    for comparison, verdicts in zip(comparisons, judged, strict=True):
        apart = comparison.similar is not None and comparison.similar.sign > 0
        stay = any(claim.verdict == HELD for claim in verdicts if claim.says.startswith("The relations"))
        if comparison.smoother and apart and stay and comparison.accuracy.sign >= 0:
            reasons.append(
                f"{comparison.other.name} holds similar {terms.kinds} further apart and relates the {terms.kinds} as "
                f"{comparison.base.name} does: what smoothing erased is not what tells them apart ({SHEN}, section 3)."
            )
            return comparison.other, LEANING
    return best, OPEN
