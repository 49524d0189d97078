"""What both forms of the plot of quality have: the looks of models, and the lines above the plot."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from .bought import Model, Point, best_student, headline, plain_of
from .taught import teacher_of

#: Kind of model -> index of a colour in `analysis.style`, and marker.
LOOKS = {"teacher": (6, "s"), "none": (-1, "o"), "word": (0, "^"), "sequence": (1, "v"), "both": (2, "D")}
Look = dict[str, Any]  #: matplotlib's properties of a text
LINE = 0.19  #: height of a line above the panels in inches


def points_of(model: Model) -> list[Point]:
    return [model.fairseq, *([model.exported] if model.exported else [])]


def colour_of(model: Model) -> str:
    from ..analysis.style import COLOURS, GREY

    number = LOOKS.get(model.kind, (3, "X"))[0]
    return GREY if number < 0 else COLOURS[number]


def between(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the best student's teacher and the student without one; [] if either is unknown."""
    student = best_student(records)
    ends = (teacher_of(student, records), plain_of(student, records)) if student else (None, None)
    found = [record for record in ends if record is not None and record.get("bleu") is not None]
    return found if len(found) == 2 else []


def marker_of(model: Model) -> str:
    return LOOKS.get(model.kind, (3, "X"))[1]


def mark(model: Model, point: Point) -> dict[str, Any]:
    """Return the properties of a point's marker: filled in fairseq, open as exported."""
    colour = colour_of(model)
    if point is model.fairseq:
        look = {"ms": 7.5, "mfc": colour, "mec": "white", "mew": 0.6, "zorder": 3}
    else:
        look = {"ms": 6, "mfc": "white", "mec": colour, "mew": 1.2, "zorder": 4}
    return {"marker": marker_of(model), "linestyle": "none", **look}


def heading(
    title: str, records: Sequence[dict[str, Any]], models: Sequence[Model], width: float
) -> list[tuple[str, Look]]:
    """Return the lines above the panels, which fit the width in inches, with their properties."""
    parts: list[tuple[str, Look]] = [
        (title, {"fontsize": 9, "color": "#555555"}),
        (headline(records), {"fontsize": 10.5, "fontweight": "bold"}),
        *((text, {"fontsize": 7.5, "color": "#555555"}) for text in _how_to_read(records, models)),
    ]
    return [(line, look) for text, look in parts if text for line in wrap(text, _characters(text, look, width))]


def write_lines(figure: Any, lines: Sequence[tuple[str, Look]], left: float) -> None:
    """Write the lines above the panels, `left` inches from the edge."""
    width, height = figure.get_size_inches()
    for number, (text, look) in enumerate(lines):
        figure.text(left / width, 1 - (0.1 + LINE * number) / height, text, va="top", **look)


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
    if between(records):
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
