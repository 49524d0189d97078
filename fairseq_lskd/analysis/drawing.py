"""A figure to draw in while the style holds, for text that is made after its axes too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import matplotlib
from matplotlib.figure import Figure

from .style import STYLE


@contextlib.contextmanager
def figure(width: float = 7.0, height: float = 3.2) -> Iterator[Figure]:
    """A figure, in inches. It belongs to no window and needs no display."""
    with matplotlib.rc_context(STYLE | {"axes.grid": True, "grid.alpha": 0.3}):
        yield Figure(figsize=(width, height), layout="constrained")
