"""The section on erased information: the variance within classes, overall and by frequency."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..bootstrap import mean_interval
from ..document import Picture, Section, Table
from ..stability import buckets
from ..style import figure, look, styled
from .findings import Findings


def stability(found: Findings) -> Section:
    """Return the section on equation (2) for each teacher."""
    terms = found.terms
    first = found.teachers[0].stability
    rows, by_bucket, points = [], [], []
    groups = buckets(first.counts)
    for teacher in found.teachers:
        measured = teacher.stability
        whole = measured.interval()
        rows.append(
            (
                teacher.name,
                len(measured.types),
                int(measured.counts.sum()),
                measured.min_count,
                1 - whole.value,
                whole.value,
                whole.low,
                whole.high,
                measured.error_bound,
            )
        )
        line = []
        for group in groups:
            inside = mean_interval(measured.variances[group.members])
            count = int(group.members.sum())
            by_bucket.append((teacher.name, group.name, count, inside.value, inside.low, inside.high))
            line.append(inside)
        points.append((teacher.name, line))
    words = [
        "1 - S is the variance of a teacher's predictions within a class, averaged over classes (Shen et al., equation "
        f"2). {terms.definition} If 1 - S is lower, the examples of a {terms.kind} look more alike to the student: "
        "more of the information that distinguishes them is erased.",
        *(
            f"{c.other.name} compared with {c.base.name}: 1 - S changes by {c.variance.shown(4, sign=True)}."
            for c in found.comparisons
        ),
        f"The variance of a {terms.kind} is measured around its own mean, which makes it too small by the factor "
        f"1 - 1/n for n {terms.occurrences}. Compare teachers, not frequencies. Intervals are over "
        f"{terms.kinds_in_full}.",
    ]
    if any(teacher.stability.error_bound for teacher in found.teachers):
        words.append(
            "The distributions of some classes are sketched, because not all fit into memory. The sketch's error in "
            "1 - S is below the bound in the table with a probability of 95 %. The intervals of the claims include it."
        )
    columns = (
        "teacher",
        f"K {terms.kinds}",
        terms.tokens,
        "minimum n_c",
        "S",
        "1 - S",
        "low",
        "high",
        "sketch error below",
    )
    tables = [
        Table("stability", f"Stability on {found.split}.", columns, rows),
        Table(
            "stability-by-frequency",
            f"1 - S by number of {terms.occurrences} in the split.",
            ("teacher", terms.occurrences, terms.kinds, "1 - S", "low", "high"),
            by_bucket,
        ),
        Table(
            f"stability-by-{terms.kind}",
            f"Variance within each {terms.kind}, the most frequent first.",
            (terms.kind, terms.occurrences, *(teacher.name for teacher in found.teachers)),
            [
                (found.name(kind), count, *values)
                for kind, count, *values in zip(
                    first.types.tolist(),
                    first.counts.tolist(),
                    *(teacher.stability.variances.tolist() for teacher in found.teachers),
                    strict=True,
                )
            ],
        ),
    ]
    caption = (
        f"Variance within {terms.kinds_in_full}, 1 - S, by number of {terms.occurrences}. Bars are 95 % intervals over "
        f"{terms.kinds}."
    )
    axis = f"{terms.occurrences} of a {terms.kind} in the split (in brackets: number of {terms.kinds})"
    drawn = _draw(points, [f"{group.name}\n({int(group.members.sum())})" for group in groups], axis)
    return Section(
        "Erased information", words, tables, [Picture("stability", caption, drawn, "stability-by-frequency")]
    )


@styled
def _draw(points: list, names: list[str], axis: str) -> Figure:
    drawn = figure(6.5, 3.2)
    panel = drawn.subplots(1, 1, squeeze=False)[0, 0]
    width = 0.5 / max(len(points), 1)
    for i, (name, line) in enumerate(points):
        places = [j + (i - (len(points) - 1) / 2) * width for j in range(len(line))]
        values = [inside.value for inside in line]
        errors = [
            [max(0.0, inside.value - inside.low) for inside in line],
            [max(0.0, inside.high - inside.value) for inside in line],
        ]
        panel.errorbar(places, values, errors, linestyle="none", capsize=3, label=name, **look(i))
    panel.set_xticks(range(len(names)), names)
    panel.set_xlim(-0.6, len(names) - 0.4)
    panel.grid(visible=False, axis="x")
    panel.set_xlabel(axis)
    panel.set_ylabel("1 - S")
    panel.set_ylim(bottom=0)
    panel.legend()
    return drawn
