"""How pictures look."""

from __future__ import annotations

import matplotlib
from matplotlib.figure import Figure

from fairseq_lskd.analysis.style import STYLE, figure, line, plain, styled


def test_names_are_no_formulas_and_not_too_long() -> None:
    assert plain("a$b$") == r"a\$b\$" and plain("x" * 16) == "x" * 16
    assert plain("x" * 17) == "x" * 15 + "…"


def test_a_style_holds_while_it_is_drawn_and_not_after() -> None:
    before = matplotlib.rcParams["axes.grid"]

    @styled
    def draw(size: float) -> Figure:
        drawn = figure(size, size)
        panel = drawn.subplots()
        assert panel.xaxis.get_gridlines()[0].get_visible() and not panel.spines["top"].get_visible()
        return drawn

    assert draw(2.0).get_size_inches().tolist() == [2, 2]
    assert matplotlib.rcParams["axes.grid"] == before and STYLE["axes.grid"] is True


def test_systems_differ_in_more_than_colour() -> None:
    looks = [line(i) for i in range(7)]
    for name in ("color", "marker", "linestyle"):
        assert len({str(each[name]) for each in looks}) == 7
