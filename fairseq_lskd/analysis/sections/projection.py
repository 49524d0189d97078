"""The section on the penultimate activations of three classes."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from ..document import Picture, Section, Table
from ..projection import Distances, distances, project
from ..style import figure, look, plain, styled
from .findings import Findings

COLUMNS = (
    "teacher",
    "split",
    "space",
    "points",
    "D1",
    "D2",
    "D3",
    "Dc",
    "from the first to the third",
    "from the second to the third",
    "Dc / (D1 + D2)",
    "low",
    "high",
    "contrast",
)


def projection(found: Findings) -> Section:
    """Return the section on Figure 1 of the paper."""
    terms = found.terms
    title = f"Three {terms.kinds} in the penultimate layer"
    if found.triple is None:
        return Section(title, [f"Left out: fewer than three {terms.kinds_in_full} are frequent enough."])
    names = [found.name(kind) for kind in found.triple]
    able = [teacher for teacher in found.teachers if teacher.clouds and teacher.templates is not None]
    if not able:
        first = found.teachers[0]
        why = first.why_no_points or first.why_no_clouds or f"no split has all of {', '.join(names)}"
        return Section(title, [f"Left out: {why}."])
    words = [
        f"{names[0]} and {names[1]} are similar, {names[2]} is dissimilar to both. Their activations before the output "
        f"layer are projected on the plane through the rows of the output matrix of the three {terms.kinds} (Müller et "
        "al.).",
        f"D1, D2 and D3 are the mean distances of the points of each {terms.kind} from their centre. Dc is the "
        f"distance between the centres of the two similar {terms.kinds}. Scales differ between teachers, so compare "
        "Dc / (D1 + D2), which has no unit. Contrast is Dc divided by the mean distance of both centres to the third "
        "one. It is lower if the similar pair is closer.",
    ]
    rows, points, drawn_points = [], [], []
    for teacher in able:
        for cloud in teacher.clouds:
            flat = project(cloud.points, teacher.templates)  # type: ignore[arg-type]  # clouds come with them
            for space, where in (("plane", flat), ("all dimensions", cloud.points)):
                rows.append(_row(teacher.name, cloud.split, space, len(flat), distances(where, cloud.member)))
            points += [
                (teacher.name, cloud.split, names[kind], x, y)
                for (x, y), kind in zip(flat.tolist(), cloud.member.tolist(), strict=True)
            ]
            drawn_points.append((teacher.name, cloud.split, flat, cloud.member))
    tables = [
        Table("projection", "Distances, with 95 % intervals of Dc / (D1 + D2) over examples.", COLUMNS, rows),
        Table("projection-points", "Points of the plot.", ("teacher", "split", terms.kind, "x", "y"), points),
    ]
    caption = (
        f"Penultimate activations at {names[0]}, {names[1]} (similar) and {names[2]}, projected on the plane through "
        "their rows of the output matrix. Markers with a black edge are centres."
    )
    drawn = _draw(names, [teacher.name for teacher in able], drawn_points)
    return Section(title, words, tables, [Picture("projection", caption, drawn, "projection-points")])


def _row(name: str, split: str, space: str, count: int, d: Distances) -> tuple[Any, ...]:
    s = d.separation
    return (name, split, space, count, *d.spread, d.similar, *d.dissimilar, s.value, s.low, s.high, d.contrast)


@styled
def _draw(names: list[str], teachers: list[str], clouds: list[tuple[str, str, Any, Any]]) -> Figure:
    splits = list(dict.fromkeys(split for _, split, _, _ in clouds))
    drawn = figure(1 + 2.9 * len(teachers), 0.6 + 2.7 * len(splits))
    grid = drawn.subplots(len(splits), len(teachers), squeeze=False)
    for teacher, split, flat, member in clouds:
        panel = grid[splits.index(split), teachers.index(teacher)]
        for kind, name in enumerate(names):
            own = flat[member == kind]
            label = plain(name) if panel is grid[0, 0] else None
            panel.scatter(*own.T.tolist(), s=12, alpha=0.5, linewidths=0, label=label, rasterized=True, **look(kind))
        for kind in range(len(names)):
            x, y = flat[member == kind].mean(0).tolist()
            panel.scatter([x], [y], s=60, edgecolors="black", linewidths=1.2, zorder=3, **look(kind))
        panel.set_aspect("equal", adjustable="datalim")
        panel.set_title(f"{teacher}, {split}")
    drawn.legend(loc="outside upper center", ncols=len(names))
    return drawn
