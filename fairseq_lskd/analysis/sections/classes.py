"""The section on mean class distributions, and on relations between classes."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..bootstrap import mean_interval
from ..compare import separations
from ..document import Picture, Section, Table
from ..style import COLOURS, GREY, figure, logarithmic, look, plain, styled
from .findings import Findings

#: Number of panels of the plot, and of alternatives in each panel.
SHOWN, ALTERNATIVES = 4, 8


def classes(found: Findings) -> Section:
    """Return the section on Figure 4 of the paper, and on the effect of smoothing on relations."""
    terms = found.terms
    words = [
        f"The mean of a teacher's predictions over all {terms.occurrences} of a {terms.kind_in_full} shows which other "
        f"{terms.kinds} the teacher confuses it with. Shen et al. find that smoothing lowers the peak (the probability "
        f"of the {terms.kind} itself), and preserves the relations to the other {terms.kinds}.",
    ]
    for c in found.comparisons:
        words.append(
            f"{c.other.name} compared with {c.base.name}: the peak changes by {c.peak.shown(3, sign=True)}. The "
            f"relations to the other {terms.kinds} have a mean rank correlation of {c.rank_correlation.shown(3)}."
        )
        if c.similar and c.dissimilar:
            words.append(
                f"The separation of a {terms.kind} from the most similar {terms.kind} (distance of the centres divided "
                "by the sum of the spreads, in the penultimate layer) changes by "
                f"{c.similar.shown(1, sign=True, factor=100)} %, the separation from a dissimilar {terms.kind} by "
                f"{c.dissimilar.shown(1, sign=True, factor=100)} %."
            )
    how = "most often confused" if found.similarity == "confusion" else "closest in their output embeddings"
    words.append(
        f"Similar {terms.kinds} are those {how}, on average over the teachers. A dissimilar {terms.kind} is drawn from "
        "the less similar half of all."
    )
    chosen = _chosen(found)
    distribution = _distribution_rows(found, chosen)
    pictures = [
        Picture(
            "mean-distributions",
            f"Mean predicted distribution at the {terms.occurrences} of a {terms.kind}: the probabilities of the "
            f"{terms.kind} itself and of the strongest alternatives (logarithmic scale).",
            _draw_distributions(found, chosen, distribution),
            "mean-distributions",
        )
    ]
    if found.comparisons:
        pictures.append(
            Picture(
                "relations",
                f"Left: mean probability of each {terms.kind} at its own {terms.occurrences} under two teachers. "
                f"Right: rank correlation between the teachers of a {terms.kind}'s relations to all other "
                f"{terms.kinds}.",
                _draw_relations(found),
                "classes",
            )
        )
    tables = [_summary(found), _distribution_table(found, distribution), _by_type(found)]
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
    columns = ("teacher", found.terms.kinds, "peak", "low", "high", "entropy of the mean (nats)", "strongest rival")
    more = ("separation, similar (median)", "separation, dissimilar (median)")
    return Table("classes-summary", f"Means over {found.terms.kinds}, with 95 % intervals.", (*columns, *more), rows)


def _by_type(found: Findings) -> Table:
    terms = found.terms
    columns = [terms.kind, terms.occurrences, "similar", "dissimilar"]
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
            columns.append(f"{teacher.name}: separation from the similar {terms.kind}")
            values.append(apart.tolist())
    for c in found.comparisons:
        columns.append(f"{c.base.name} / {c.other.name}: rank correlation")
        values.append(c.rank.tolist())
    rows = list(zip(*values, strict=True))
    return Table(
        "classes", f"All {terms.kinds} with enough {terms.occurrences}, the most frequent first.", columns, rows
    )


def _chosen(found: Findings) -> list[int]:
    """Return the rows of the classes to plot: those of the projection, then the most frequent ones."""
    types = found.types.tolist()
    wanted = [types.index(kind) for kind in found.triple or () if kind in types]
    wanted += [row for row in range(len(types)) if row not in wanted]
    return wanted[:SHOWN]


def _distribution_rows(found: Findings, chosen: list[int]) -> list[tuple[str, str, list[float]]]:
    """Return (class, alternative, mean probability of the alternative under each teacher), the class itself first."""
    rows = []
    for row in chosen:
        kind = int(found.types[row])
        means = torch.cat([teacher.measurement.exact.means(slice(row, row + 1)).cpu() for teacher in found.teachers])
        others = means.mean(0)
        others[kind] = -1
        for other in [kind, *others.topk(min(ALTERNATIVES, len(others) - 1)).indices.tolist()]:
            rows.append((found.name(kind), found.name(other), means[:, other].tolist()))
    return rows


def _distribution_table(found: Findings, rows: list[tuple[str, str, list[float]]]) -> Table:
    terms = found.terms
    return Table(
        "mean-distributions",
        f"Mean probability of predictions at the {terms.occurrences} of a {terms.kind}.",
        [terms.kind, "predicted", *(teacher.name for teacher in found.teachers)],
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
        logarithmic(panel)
        panel.set_yticks(range(len(part)), [plain(other) for _, other, _ in part])
        panel.invert_yaxis()
        panel.set_title(f"{found.terms.occurrences} of {plain(part[0][0])}")
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
        right.hist(known, bins=min(30, max(5, len(known) // 2)), color=COLOURS[5], edgecolor="white", linewidth=0.3)
        right.axvline(c.rank_correlation.value, color="black", linewidth=1)
        right.set_xlabel(f"rank correlation of a {found.terms.kind}'s relations (line: mean)")
        right.set_ylabel(f"number of {found.terms.kinds}")
        right.set_xlim(right=1)
        right.yaxis.set_major_locator(MaxNLocator(integer=True))
    return drawn
