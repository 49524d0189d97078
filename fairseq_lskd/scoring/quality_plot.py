"""Plot quality against speed and size, of each model in fairseq and as exported."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..extras import require
from .bought import Model, Point, models_of
from .figures import save
from .quality_parts import LINE, between, colour_of, heading, mark, points_of, write_lines
from .quality_rows import rows_of

_PANELS: dict[str, tuple[str, Callable[[Point], float | None]]] = {
    "rate": ("sentences per second (faster →)", lambda point: point.rate),
    "megabytes": ("size in MB (smaller →)", lambda point: point.megabytes),
}
HEIGHT = 12.0  #: height of a label in points
MOST = 8  #: models of the same speed and size whose names can be followed to their points
LONGEST = 28  #: maximum length of a label in characters


def draw(records: Sequence[dict[str, Any]], path: Path, title: str = "") -> None:
    """Plot BLEU against decoding speed, if it was measured, and against size.

    Filled markers are models in fairseq, open markers exported models. Bars are 95 % intervals over seeds. Better
    models are above and to the right. If too many models have the same speed and size, each is in a row of its own.

    Args:
        records: one per system (`over_seeds.mean_records`).
        path: .svg, .png or .pdf.

    Raises:
        UserError: if no record has BLEU, matplotlib is missing, or it cannot write this type of file.
    """
    require("--plot", "matplotlib")
    from matplotlib import rc_context

    from ..analysis.style import STYLE

    with rc_context({**STYLE, "axes.grid": False}):
        save(figure_of(records, title), path)


def figure_of(records: Sequence[dict[str, Any]], title: str = "") -> Any:
    """Return the figure that `draw` saves."""
    models = models_of(records)
    if not models:
        raise UserError("--plot: found no record with BLEU; score with --metrics bleu")
    panels = [
        panel
        for panel in _PANELS.values()
        if any(panel[1](point) is not None for model in models for point in points_of(model))
    ] or [_PANELS["megabytes"]]
    if min(_most_at_one_place(models, value) for _, value in panels) > MOST:
        return rows_of(records, models, title)
    return _panels(records, models, panels, title)


def _most_at_one_place(models: Sequence[Model], value: Callable[[Point], float | None]) -> int:
    """Return the largest number of models whose values in a panel differ by less than about 1 %."""
    values = [found for model in models if (found := value(model.best))]
    return max(Counter(round(100 * math.log(found)) for found in values).values(), default=0)


def _panels(
    records: Sequence[dict[str, Any]],
    models: Sequence[Model],
    panels: Sequence[tuple[str, Callable[[Point], float | None]]],
    title: str,
) -> Any:
    """Return a figure with a panel for each measurement, and the names of the models beside it."""
    from matplotlib.figure import Figure

    # The labels of the last panel have the share of the gap closed.
    texts = [[_name(model) for model in models]] * (len(panels) - 1) + [[_name(m, m.closed) for m in models]]
    # Sizes in inches.
    wide, left, names = 3.9, 0.65, [0.25 + 0.062 * max(map(len, column)) for column in texts]
    width = len(panels) * (left + wide) + sum(names)
    lines = heading(title, records, models, width - left)
    high, above, below = max(2.5, len(models) * HEIGHT / 72), 0.25 + LINE * len(lines), 0.5
    height = above + high + below
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)
    for number, (axis, (label, value)) in enumerate(zip(axes[0], panels, strict=True)):
        start = left + number * (wide + left) + sum(names[:number])
        axis.set_position((start / width, below / height, wide / width, high / height))
        _panel(axis, models, value)
        axis.set_xlabel(label)
        axis.tick_params(labelleft=True)
    axes[0][0].set_ylabel("BLEU")
    _lines(axes[0], records)
    for axis, (_, value), column in zip(axes[0], panels, texts, strict=True):
        _labels(figure, axis, models, value, column)
    write_lines(figure, lines, left)
    return figure


def apart(wanted: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """Return the positions nearest to `wanted` that keep its order, `least` apart, within `low` to `high`.

    Pool adjacent violators: sorted and less i * `least`, the result is the nearest non-decreasing sequence.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    pools: list[list[float]] = []  # mean and size of each pool
    for place, index in enumerate(order):
        pools.append([wanted[index] - place * least, 1])
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            mean, count = pools.pop()
            pools[-1] = [(pools[-1][0] * pools[-1][1] + mean * count) / (pools[-1][1] + count), pools[-1][1] + count]
    level = [mean for mean, count in pools for _ in range(int(count))]
    highest = high - (len(order) - 1) * least
    placed = [0.0] * len(wanted)
    for place, index in enumerate(order):
        placed[index] = max(min(level[place], highest), low) + place * least
    return placed


def _panel(axis: Any, models: Sequence[Model], value: Callable[[Point], float | None]) -> None:
    """Draw the points of one panel. Better is to the right, so the axis of sizes is inverted."""
    for model in models:
        colour = colour_of(model)
        known = [(value(point), point) for point in points_of(model) if value(point) is not None]
        axis.plot([x for x, _ in known], [point.bleu for _, point in known], color=colour, lw=0.8, alpha=0.45, zorder=2)
        for x, point in known:
            if point.half:  # models of equal size overlap, so bars are light
                ends = point.bleu - point.half, point.bleu + point.half
                axis.vlines(x, *ends, color=colour, lw=1, alpha=0.3, zorder=1)
            axis.plot([x], [point.bleu], **mark(model, point))
    axis.set_xscale("log")
    axis.margins(x=0.08, y=0.07)
    axis.autoscale_view()
    if value is _PANELS["megabytes"][1]:
        axis.invert_xaxis()
    axis.grid(axis="x", color="#eeeeee", lw=0.6)
    _plain_ticks(axis)
    axis.autoscale(False)  # the lines to the labels end at the edge


def _lines(axes: Sequence[Any], records: Sequence[dict[str, Any]]) -> None:
    """Draw dashed lines at the BLEU of the best student's teacher and of the student without one."""
    for record in between(records):
        for axis in axes:
            axis.axhline(record["bleu"], color="#b5b5b5", lw=0.8, ls=(0, (4, 3)), zorder=0)


def _name(model: Model, more: str = "") -> str:
    name = model.name if len(model.name) <= LONGEST else f"{model.name[: LONGEST - 1]}…"
    return f"{name}   {more}" if more else name


def _labels(
    figure: Any, axis: Any, models: Sequence[Model], value: Callable[[Point], float | None], texts: Sequence[str]
) -> None:
    """Write the models' names beside a panel without overlap, each with a line from its point."""
    shown = [(m, text, value(m.best)) for m, text in zip(models, texts, strict=True) if value(m.best) is not None]
    if not shown:
        return
    points_per_pixel = 72 / figure.dpi
    places = axis.transData.transform([(x, model.best.bleu) for model, _, x in shown])[:, 1] * points_per_pixel
    (_, bottom), (_, top) = axis.transAxes.transform([(0, 0), (0, 1)]) * points_per_pixel
    ends = (np.array(apart(list(places), HEIGHT, bottom, top)) - bottom) / (top - bottom)
    starts = (places - bottom) / (top - bottom)
    edge = axis.get_xlim()[1]
    for (model, text, x), start, end in zip(shown, starts, ends, strict=True):
        look = {"color": colour_of(model), "lw": 0.5, "alpha": 0.5, "zorder": 1}
        axis.plot([x, edge], [model.best.bleu] * 2, **look)
        axis.plot([1, 1.03], [start, end], transform=axis.transAxes, clip_on=False, **look)
        axis.text(1.04, end, text, transform=axis.transAxes, color=colour_of(model), fontsize=8, va="center")


def _plain_ticks(axis: Any) -> None:
    """Label the axis with plain numbers (1, 2, 5, 10, ...) instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = sorted(axis.get_xlim())
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 4 * low else range(1, 10)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
