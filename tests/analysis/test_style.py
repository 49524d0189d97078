"""Tests of the style of plots."""

from __future__ import annotations

import matplotlib
import pytest
from matplotlib.figure import Figure

from fairseq_lskd.analysis.document import Picture
from fairseq_lskd.analysis.saving import rendered
from fairseq_lskd.analysis.style import STYLE, figure, line, logarithmic, plain, styled


def test_names_are_not_formulas_and_are_shortened() -> None:
    assert plain("a$b$") == "a$b$" and plain("x" * 16) == "x" * 16
    assert plain("x" * 17) == "x" * 15 + "…"


def test_the_style_applies_only_while_drawing() -> None:
    before = matplotlib.rcParams["axes.grid"]

    @styled
    def draw(size: float) -> Figure:
        drawn = figure(size, size)
        panel = drawn.subplots()
        assert panel.xaxis.get_gridlines()[0].get_visible() and not panel.spines["top"].get_visible()
        return drawn

    assert draw(2.0).get_size_inches().tolist() == [2, 2]
    assert matplotlib.rcParams["axes.grid"] == before and STYLE["axes.grid"] is True


@pytest.mark.parametrize("name", [r"a$\frac{$", r"$\x$", "$$", r"\$a$b$", "a_b^c"])
def test_names_and_powers_are_drawn_as_plain_text(name: str) -> None:
    @styled
    def draw() -> Figure:
        drawn = figure(3, 2)
        panel = drawn.subplots()
        panel.plot([0.001, 1], [1, 2], label=name)
        panel.set_xlabel(name)
        panel.set_yticks([1, 2], [name, name])
        logarithmic(panel)
        drawn.legend()
        return drawn

    drawn = draw()
    picture = Picture("a", "a", drawn, "a")
    assert rendered(picture, "png") and rendered(picture, "svg")
    (panel,) = drawn.axes
    ticks = [tick.get_text() for tick in panel.get_xticklabels()]
    assert "1" in ticks and not any("$" in tick for tick in ticks)


def test_systems_differ_in_more_than_colour() -> None:
    looks = [line(i) for i in range(7)]
    for name in ("color", "marker", "linestyle"):
        assert len({str(each[name]) for each in looks}) == 7
    assert len({str(line(i)) for i in range(49)}) == 49  # more systems than colours
