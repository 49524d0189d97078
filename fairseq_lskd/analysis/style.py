"""How pictures look: legible in print, in grey and for colour-blind readers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

P = ParamSpec("P")

#: Okabe & Ito's palette (2008), which people with any common colour blindness can tell apart; yellow left out.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: Each colour has a marker and a line of its own, so that nothing is said by colour alone.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
GREY = "#6b6b6b"
#: Characters of a name in a picture.
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
    # Names are no formulas, whatever is in them.
    "text.parse_math": False,
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A function that draws, in this style."""

    @functools.wraps(draw)
    def wrapped(*args: P.args, **options: P.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **options)

    return wrapped


def figure(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    return Figure(figsize=(width, height), layout="constrained")


def look(index: int) -> dict[str, Any]:
    """Colour and marker of the system of this number."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def line(index: int) -> dict[str, Any]:
    """Colour, marker and line of the system of this number."""
    return look(index) | {"linestyle": LINES[index % len(LINES)]}


def plain(text: str) -> str:
    """A name as it is written in a picture: not too long."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def logarithmic(panel: Axes) -> None:
    """Have a panel's first axis go by powers, with plain numbers at its ticks: matplotlib would write formulas."""
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(LogFormatter())
    panel.xaxis.set_minor_formatter(LogFormatter())
