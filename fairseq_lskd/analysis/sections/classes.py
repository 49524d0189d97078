"""Mean class distributions, and how classes relate to each other."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure

from ..bootstrap import mean_interval
from ..compare import separations
from ..document import Picture, Section, Table
from ..style import COLOURS, GREY, figure, look, plain, styled
from .findings import Findings

#: Panels of the picture, and alternatives in each.
SHOWN, ALTERNATIVES = 4, 8


def classes(found: Findings) -> Section:
    """Figure 4 of the paper, and what smoothing does to the relations."""
    words = [
        "The mean of a teacher's predictions over all occurrences of a token type shows what the teacher takes it for. "
        "The paper finds that smoothing lowers the peak, and leaves the relations to the other types as they are.",
    ]
    for c in found.comparisons:
        words.append(
            f"{c.other.name} against {c.base.name}: the peak changes by {c.peak.shown(3, sign=True)}; the relations to "
            f"the other types have a mean rank correlation of {c.rank_correlation.shown(3)}."
        )
        if c.similar and c.dissimilar:
            words.append(
                "The separation of a type from its most similar one (distance of centres over the sum of spreads, in "
                f"the penultimate layer) changes by {c.similar.shown(1, sign=True, factor=100)} %, that from a "
                f"dissimilar type by {c.dissimilar.shown(1, sign=True, factor=100)} %."
            )
    how = "taken for each other most" if found.similarity == "confusion" else "closest in their output embeddings"
    words.append(
        f"Similar types are those {how}, on average over the teachers; a dissimilar one is drawn from the half that is "
        "least similar."
    )
    chosen = _chosen(found)
    distribution = _distribution_rows(found, chosen)
    pictures = [
        Picture(
            "mean-distributions",
            "Mean predicted distribution at the occurrences of a type: its own probability and the strongest "
            "alternatives (logarithmic).",
            _draw_distributions(found, chosen, distribution),
            "mean-distributions",
        )
    ]
    if found.comparisons:
        pictures.append(
            Picture(
                "relations",
                "Left: the mean probability of each type at its own occurrences under two teachers. Right: the rank "
                "correlation of its relations to all other types.",
                _draw_relations(found),
                "classes",
            )
        )
    tables = [_summary(found), Table(*_distribution_table(distribution)), _by_type(found)]
    return Section("Mean class distributions", words, tables, pictures)


def _summary(found: Findings) -> Table:
    rows = []
    for teacher in found.teachers:
        profile = teacher.profiles
        peak, entropy = mean_interval(profile.peak), mean_interval(profile.entropy)
        row: list[Any] = [teacher.name, len(profile.peak), peak.value, peak.low, peak.high, entropy.value]
        row.append(mean_interval(profile.rival_share).value)
        for partner in (found.pairs.similar, found.pairs.dissimilar):
            apart = separations(teacher, partner)
            finite = None if apart is None else apart[apart.isfinite()]
            row.append(None if finite is None or not len(finite) else finite.median().item())
        rows.append(row)
    columns = ("teacher", "types", "peak", "low", "high", "entropy of the mean (nats)", "strongest rival")
    more = ("separation, similar (median)", "separation, dissimilar (median)")
    return Table("classes-summary", "Means over types, with 95 % intervals.", (*columns, *more), rows)


def _by_type(found: Findings) -> Table:
    columns = ["type", "occurrences", "similar", "dissimilar"]
    first = found.teachers[0]
    names = [found.name(kind) for kind in found.types.tolist()]
    values: list[list[Any]] = [
        names,
        first.measurement.exact.counts.tolist(),
        [names[i] for i in found.pairs.similar.tolist()],
        [names[i] for i in found.pairs.dissimilar.tolist()],
    ]
    for teacher in found.teachers:
        profile = teacher.profiles
        columns += [f"{teacher.name}: {what}" for what in ("peak", "entropy", "rival", "rival's share")]
        values += [profile.peak.tolist(), profile.entropy.tolist(), [found.name(i) for i in profile.rival.tolist()]]
        values.append(profile.rival_share.tolist())
        apart = separations(teacher, found.pairs.similar)
        if apart is not None:
            columns.append(f"{teacher.name}: separation from the similar type")
            values.append(apart.tolist())
    for c in found.comparisons:
        columns.append(f"{c.base.name} / {c.other.name}: rank correlation")
        values.append(c.rank.tolist())
    rows = list(zip(*values, strict=True))
    return Table("classes", "Each type that occurs often enough, the most frequent first.", columns, rows)


def _chosen(found: Findings) -> list[int]:
    """Rows of the types to draw: those of the projection, then the most frequent."""
    types = found.types.tolist()
    wanted = [types.index(kind) for kind in found.triple or () if kind in types]
    wanted += [row for row in range(len(types)) if row not in wanted]
    return wanted[:SHOWN]


def _distribution_rows(found: Findings, chosen: list[int]) -> list[tuple[str, str, list[float]]]:
    """(type, alternative, its mean probability under each teacher), the type itself first."""
    rows = []
    for row in chosen:
        kind = int(found.types[row])
        means = torch.cat([teacher.measurement.exact.means(slice(row, row + 1)).cpu() for teacher in found.teachers])
        others = means.mean(0)
        others[kind] = -1
        for other in [kind, *others.topk(min(ALTERNATIVES, len(others) - 1)).indices.tolist()]:
            rows.append((found.name(kind), found.name(other), means[:, other].tolist()))
    return rows


def _distribution_table(rows: list[tuple[str, str, list[float]]]) -> tuple:
    count = len(rows[0][2]) if rows else 0
    columns = ["type", "predicted", *(f"teacher {i + 1}" for i in range(count))]
    return (
        "mean-distributions",
        "Mean probability of what is predicted at the occurrences of a type; teachers in the order of the first table.",
        columns,
        [(kind, other, *values) for kind, other, values in rows],
    )


@styled
def _draw_distributions(found: Findings, chosen: list[int], rows: list[tuple[str, str, list[float]]]) -> Figure:
    count = max(len(chosen), 1)
    drawn = figure(7.5, 0.9 + 2.5 * ((count + 1) // 2))
    grid = drawn.subplots((count + 1) // 2, 2, squeeze=False).flatten()
    per = len(rows) // count
    for i, panel in enumerate(grid):
        part = rows[i * per : (i + 1) * per]
        if i >= count or not part:
            panel.set_axis_off()
            continue
        for j in range(len(found.teachers)):
            values = [values[j] for _, _, values in part]
            label = found.teachers[j].name if i == 0 else None
            panel.plot(values, range(len(part)), linestyle="none", markersize=6, alpha=0.85, label=label, **look(j))
        for y, (_, _, values) in enumerate(part):
            panel.plot([min(values), max(values)], [y, y], color=GREY, linewidth=0.8, zorder=0)
        panel.set_xscale("log")
        panel.set_yticks(range(len(part)), [plain(other) for _, other, _ in part])
        panel.invert_yaxis()
        panel.set_title(f"at occurrences of {plain(part[0][0])}")
        panel.grid(axis="x", color="#dddddd", linewidth=0.6)
        panel.set_xlabel("mean probability")
    drawn.legend(loc="outside upper center", ncols=len(found.teachers))
    return drawn


@styled
def _draw_relations(found: Findings) -> Figure:
    drawn = figure(7, 3.1 * len(found.comparisons))
    grid = drawn.subplots(len(found.comparisons), 2, squeeze=False)
    for i, (c, (left, right)) in enumerate(zip(found.comparisons, grid, strict=True), start=1):
        colour = look(i)["color"]
        x, y = c.base.profiles.peak.tolist(), c.other.profiles.peak.tolist()
        left.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
        left.scatter(x, y, s=9, color=colour, marker=look(i)["marker"], alpha=0.5, linewidths=0, rasterized=True)
        left.set_xlabel(f"peak, {c.base.name}")
        left.set_ylabel(f"peak, {c.other.name}")
        left.set_aspect("equal")
        known = c.rank[~c.rank.isnan()].tolist()
        right.hist(known, bins=30, color=COLOURS[5], edgecolor="white", linewidth=0.3)
        right.axvline(c.rank_correlation.value, color="black", linewidth=1)
        right.set_xlabel("rank correlation of a type's relations (line: mean)")
        right.set_ylabel("types")
        right.set_xlim(right=1)
    return drawn
