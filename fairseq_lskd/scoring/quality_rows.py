"""Plot the quality of many models, each in a row of its own, with size and speed in columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .bought import Model, Point
from .quality_parts import LINE, between, colour_of, heading, mark, points_of, write_lines

ROW = 0.2  #: height of a row in inches
APART = 0.17  #: distance of a model's points from the middle of its row, in rows
CHARACTER = 0.068  #: width of a character of a name or column in inches
GAP = 0.25  #: between columns, in inches
#: Columns: header, and a value of a point.
_NUMBERS: tuple[tuple[str, Callable[[Point], float | None]], ...] = (
    ("sent/s", lambda point: point.rate),
    ("MB", lambda point: point.megabytes),
)


def rows_of(records: Sequence[dict[str, Any]], models: Sequence[Model], title: str) -> Any:
    """Return a figure with the best model in the first row."""
    from matplotlib.figure import Figure

    models = sorted(models, key=lambda model: -model.best.bleu)
    columns = list(_columns(models))
    widths = [GAP + CHARACTER * max(map(len, column)) for column in columns]
    names, wide = 0.2 + CHARACTER * max(len(model.name) for model in models), 3.9
    width = names + wide + sum(widths) + 0.1
    lines = heading(title, records, models, width - 0.15)
    high, above, below = (len(models) + 0.5) * ROW, 0.45 + LINE * len(lines), 0.5
    height = above + high + below
    figure = Figure(figsize=(width, height))
    axis = figure.add_axes((names / width, below / height, wide / width, high / height))
    for record in between(records):
        axis.axvline(record["bleu"], color="#b5b5b5", lw=0.8, ls=(0, (4, 3)), zorder=0)
    for row, model in enumerate(models):
        _row(axis, row, model)
    axis.set_ylim(len(models) - 0.25, -0.75)
    axis.set_yticks(range(len(models)), [model.name for model in models], fontsize=8)
    axis.tick_params(axis="y", length=0)
    for label, model in zip(axis.get_yticklabels(), models, strict=True):
        label.set_color(colour_of(model))
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x", color="#eeeeee", lw=0.6)
    axis.set_xlabel("BLEU (better \N{RIGHTWARDS ARROW})")
    end = wide
    for (head, *texts), room in zip(columns, widths, strict=True):
        end += room
        place: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 8, "transform": axis.get_yaxis_transform()}
        axis.text(end / wide, -1.1, head, **place, color="#555555")
        for row, (text, model) in enumerate(zip(texts, models, strict=True)):
            axis.text(end / wide, row, text, **place, color=colour_of(model))
    write_lines(figure, lines, 0.15)
    return figure


def _row(axis: Any, row: int, model: Model) -> None:
    """Draw the points of a model with their intervals, that of the exported model below the other."""
    points = points_of(model)
    for point, shift in zip(points, (-APART, APART) if len(points) > 1 else (0,), strict=True):
        if point.half:
            ends = point.bleu - point.half, point.bleu + point.half
            axis.hlines(row + shift, *ends, color=colour_of(model), lw=1, alpha=0.5, zorder=1)
        axis.plot([point.bleu], [row + shift], **mark(model, point) | {"ms": 6 if point is model.fairseq else 5})


def _columns(models: Sequence[Model]) -> Any:
    """Yield the columns that have values: the header, and a text for each model."""
    for head, value in _NUMBERS:
        texts = [" / ".join(_shown(value(point)) for point in points_of(model)) for model in models]
        if any(value(point) is not None for model in models for point in points_of(model)):
            yield [f"{head} / exported" if any(model.exported for model in models) else head, *texts]
    if any(model.closed for model in models):
        yield ["gap closed", *(model.closed for model in models)]


def _shown(number: float | None) -> str:
    """Return a number with two digits, or all before the point."""
    if number is None:
        return "?"
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}" if number >= 1 else f"{number:.2f}"
