"""Plot quality against speed and size, of each model in fairseq and as exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from ..errors import UserError
from .bought import Model, Point, best_student, headline, models_of, plain_of
from .figures import pyplot, save
from .taught import teacher_of

#: Kind of model -> index of a colour in `analysis.style`, and marker.
_LOOKS = {"teacher": (6, "s"), "none": (-1, "o"), "word": (0, "^"), "sequence": (1, "v"), "both": (2, "D")}
Look = dict[str, Any]  #: matplotlib's properties of a text
_PANELS: dict[str, tuple[str, Callable[[Point], float | None]]] = {
    "rate": ("sentences per second (faster →)", lambda point: point.rate),
    "megabytes": ("size in MB (smaller →)", lambda point: point.megabytes),
}
HEIGHT = 12.0  #: height of a label in points
LINE = 0.19  #: height of a line above the panels in inches
LONGEST = 28  #: maximum length of a label in characters


def draw(records: Sequence[dict[str, Any]], path: Path, title: str = "") -> None:
    """Plot BLEU against decoding speed, if it was measured, and against size.

    Filled markers are models in fairseq, open markers exported models. Bars are 95 % intervals over seeds. Better
    models are above and to the right.

    Args:
        records: one per system (`over_seeds.mean_records`).
        path: .svg, .png or .pdf.

    Raises:
        UserError: if no record has BLEU, matplotlib is missing, or it cannot write this type of file.
    """
    plt = pyplot()
    models = models_of(records)
    if not models:
        raise UserError("--plot: found no record with BLEU; score with --metrics bleu")
    from ..analysis.style import STYLE

    panels = [
        panel
        for panel in _PANELS.values()
        if any(panel[1](point) is not None for model in models for point in _points(model))
    ] or [_PANELS["megabytes"]]
    # The labels of the last panel have the share of the gap closed.
    texts = [[_name(model) for model in models]] * (len(panels) - 1) + [[_name(m, m.closed) for m in models]]
    # Sizes in inches.
    wide, left, names = 3.9, 0.65, [0.25 + 0.062 * max(map(len, column)) for column in texts]
    width = len(panels) * (left + wide) + sum(names)
    lines = _heading(title, records, models, width - left)
    high, above, below = max(2.5, len(models) * HEIGHT / 72), 0.25 + LINE * len(lines), 0.5
    with plt.rc_context({**STYLE, "axes.grid": False}):
        height = above + high + below
        figure, axes = plt.subplots(1, len(panels), figsize=(width, height), sharey=True, squeeze=False)
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
        for number, (text, look) in enumerate(lines):
            figure.text(left / width, 1 - (0.1 + LINE * number) / height, text, va="top", **look)
        save(figure, path)


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


def _points(model: Model) -> list[Point]:
    return [model.fairseq, *([model.exported] if model.exported else [])]


def _colour(model: Model) -> str:
    from ..analysis.style import COLOURS, GREY

    number = _LOOKS.get(model.kind, (3, "X"))[0]
    return GREY if number < 0 else COLOURS[number]


def _panel(axis: Any, models: Sequence[Model], value: Callable[[Point], float | None]) -> None:
    """Draw the points of one panel. Better is to the right, so the axis of sizes is inverted."""
    for model in models:
        colour, marker = _colour(model), _LOOKS.get(model.kind, (3, "X"))[1]
        known = [(value(point), point) for point in _points(model) if value(point) is not None]
        axis.plot([x for x, _ in known], [point.bleu for _, point in known], color=colour, lw=0.8, alpha=0.45, zorder=2)
        for x, point in known:
            if point.half:  # models of equal size overlap, so bars are light
                ends = point.bleu - point.half, point.bleu + point.half
                axis.vlines(x, *ends, color=colour, lw=1, alpha=0.3, zorder=1)
            if point is model.fairseq:
                axis.plot([x], [point.bleu], marker, ms=7.5, mfc=colour, mec="white", mew=0.6, zorder=3)
            else:
                axis.plot([x], [point.bleu], marker, ms=6, mfc="white", mec=colour, mew=1.2, zorder=4)
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
    for record in _between(records):
        for axis in axes:
            axis.axhline(record["bleu"], color="#b5b5b5", lw=0.8, ls=(0, (4, 3)), zorder=0)


def _between(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the best student's teacher and the student without one; [] if either is unknown."""
    student = best_student(records)
    ends = (teacher_of(student, records), plain_of(student, records)) if student else (None, None)
    found = [record for record in ends if record is not None and record.get("bleu") is not None]
    return found if len(found) == 2 else []


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
        look = {"color": _colour(model), "lw": 0.5, "alpha": 0.5, "zorder": 1}
        axis.plot([x, edge], [model.best.bleu] * 2, **look)
        axis.plot([1, 1.03], [start, end], transform=axis.transAxes, clip_on=False, **look)
        axis.text(1.04, end, text, transform=axis.transAxes, color=_colour(model), fontsize=8, va="center")


def _heading(
    title: str, records: Sequence[dict[str, Any]], models: Sequence[Model], width: float
) -> list[tuple[str, Look]]:
    """Return the lines above the panels, which fit the width in inches, with their properties."""
    parts: list[tuple[str, Look]] = [
        (title, {"fontsize": 9, "color": "#555555"}),
        (headline(records), {"fontsize": 10.5, "fontweight": "bold"}),
        *((text, {"fontsize": 7.5, "color": "#555555"}) for text in _how_to_read(records, models)),
    ]
    return [(line, look) for text, look in parts if text for line in wrap(text, _characters(text, look, width))]


def _characters(text: str, look: Look, width: float) -> int:
    """Return how many characters of a text fit the width in inches, by the mean width of its characters."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(weight=look.get("fontweight"))
    points = TextPath((0, 0), text, size=look["fontsize"], prop=font).get_extents().width
    return max(1, int(0.97 * len(text) * width * 72 / max(points, 1)))


def _how_to_read(records: Sequence[dict[str, Any]], models: Sequence[Model]) -> list[str]:
    from ..busy import doubt

    parts = []
    if stored := sorted({model.stored for model in models if model.exported}):
        parts.append(f"filled: fairseq, float32; open: exported, {' or '.join(stored)}")
    if seeds := sorted({record["seeds"] for record in records if record.get("seeds")}):
        parts.append(f"bars: 95 % interval over {' or '.join(map(str, seeds))} seeds")
    if _between(records):
        parts.append("dashed: teacher, and student without a teacher")
    if any(model.closed for model in models):
        interval = " [95 % interval]" if any("[" in model.closed for model in models) else ""
        parts.append(f"%: share of the gap closed{interval}")
    where = []
    for place in dict.fromkeys(record["speed_machine"] for record in records if record.get("speed_machine")):
        busy = max(r.get("speed_others_cores") or 0.0 for r in records if r.get("speed_machine") == place)
        where.append(f"speed on {place}{doubt(busy)}")
    if stored:  # the SentencePiece model and positions are most of a small model's folder
        where.append("size: fairseq's parameters at 4 bytes; the whole exported folder with its SentencePiece model")
    return ["; ".join(parts), "; ".join(where)]


def _plain_ticks(axis: Any) -> None:
    """Label the axis with plain numbers (1, 2, 5, 10, ...) instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = sorted(axis.get_xlim())
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 4 * low else range(1, 10)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
