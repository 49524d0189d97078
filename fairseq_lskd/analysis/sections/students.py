"""The section on students: their quality, and whether they drift towards similar types at high temperatures."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from ..document import Picture, Section, Table
from ..style import GREY, figure, look, styled
from .findings import Findings

INDEX = ("similar", "dissimilar", "difference")


def students(found: Findings) -> Section:
    """Return the section on the quality of each student, and the diffusion index of each teacher's students."""
    words = [
        "The diffusion index (Chandrasegaran et al.) is the share by which the centres of two types in the students' "
        "penultimate layer come closer from the lowest to the highest temperature. Distances are in units of the "
        "student's mean distance of centres. Students diffuse systematically if the index is larger for similar types "
        "than for dissimilar ones."
    ]
    rows = [
        (
            student.name,
            student.taught_by,
            student.temperature,
            student.quality.values["nll"],
            math.exp(student.quality.values["nll"]),
            student.quality.values["accuracy"],
            student.quality.values["ece"],
        )
        for student in found.students
    ]
    columns = ("student", "teacher", "temperature", "NLL (nats)", "perplexity", "accuracy", "ECE, adaptive bins")
    tables = [Table("students", f"Predictions of the students on {found.split}.", columns, rows)]
    if not found.diffusions:
        words.append("It was not measured: it needs two students of one teacher with different temperatures.")
        return Section("Students", words, tables)
    indices = []
    for teacher, measured in found.diffusions.items():
        low, high = found.extremes(teacher)  # type: ignore[misc]  # diffusions exist only for teachers with extremes
        for name in INDEX:
            at = getattr(measured, name)
            indices.append((teacher, low.temperature, high.temperature, name, at.value, at.low, at.high))
        drift = {1: "they drift towards similar types", -1: "they drift away from similar types"}
        words.append(
            f"Students of {teacher}, from T = {low.temperature:g} ({low.name}) to {high.temperature:g} ({high.name}): "
            f"{drift.get(measured.difference.sign, 'undecided')} (index of {INDEX[0]} minus {INDEX[1]} types: "
            f"{measured.difference.shown(3, sign=True)})."
        )
    columns = ("teacher", "from T", "to T", "pairs", "diffusion index", "low", "high")
    tables.append(Table("diffusion", "Mean diffusion index over types.", columns, indices))
    caption = "Diffusion index. Bars are 95 % intervals over types. Above 0 the types are closer."
    return Section("Students", words, tables, [Picture("diffusion", caption, _draw(found), "diffusion")])


@styled
def _draw(found: Findings) -> Figure:
    drawn = figure(5.5, 2.8)
    panel = drawn.subplots(1, 1, squeeze=False)[0, 0]
    panel.axhline(0, color=GREY, linewidth=0.8, linestyle=":")
    for i, name in enumerate(INDEX[:2]):
        for j, measured in enumerate(found.diffusions.values()):
            at = getattr(measured, name)
            errors = [[max(0.0, at.value - at.low)], [max(0.0, at.high - at.value)]]
            label = f"{name} types" if j == 0 else None
            panel.errorbar([j + 0.2 * i - 0.1], [at.value], errors, capsize=3, label=label, linestyle="none", **look(i))
    panel.set_xticks(range(len(found.diffusions)), [f"students of {teacher}" for teacher in found.diffusions])
    panel.set_xlim(-0.6, len(found.diffusions) - 0.4)
    panel.set_ylabel("diffusion index")
    drawn.legend(loc="outside upper center", ncols=2)
    return drawn
