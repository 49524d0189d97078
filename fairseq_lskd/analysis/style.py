"""The style of plots: legible in print, in grey and for colour-blind readers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

P = ParamSpec("P")

#: The palette of Okabe & Ito (2008) for colour-blind readers, without yellow.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: Each colour has its own marker and line style, so that plots work without colour.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
GREY = "#6b6b6b"
#: Maximum number of characters of a name in a plot.
LONGEST = 16
STYLE: Any = {
    "font.size": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.fonttype": "path",
    # Names may have "$".
    "text.parse_math": False,
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorate a function that draws a figure to use `STYLE`."""

    @functools.wraps(draw)
    def wrapped(*args: P.args, **options: P.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **options)

    return wrapped


def figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def look(index: int) -> dict[str, Any]:
    """Return colour and marker for the system with this index."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[_shape(index)]}


def line(index: int) -> dict[str, Any]:
    """Return colour, marker and line style for the system with this index."""
    return look(index) | {"linestyle": LINES[_shape(index)]}


def plain(text: str) -> str:
    """Shorten a name to at most `LONGEST` characters."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def logarithmic(panel: Axes) -> None:
    """Make the x axis of a panel logarithmic, with plain numbers instead of matplotlib's powers at the ticks."""
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(LogFormatter())
    panel.xaxis.set_minor_formatter(LogFormatter())


def _shape(index: int) -> int:
    """Return the index of a marker or line style, which is another one each time that the colours repeat."""
    return (index + index // len(COLOURS)) % len(COLOURS)
