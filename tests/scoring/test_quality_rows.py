"""The plot of quality is readable: no texts overlap, and models of one size are in rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

from matplotlib import rc_context

from fairseq_lskd.analysis.style import STYLE
from fairseq_lskd.records.result import read_results
from fairseq_lskd.scoring.over_seeds import mean_records
from fairseq_lskd.scoring.quality_plot import MOST, figure_of
from fairseq_lskd.scoring.quality_rows import _shown
from fairseq_lskd.scoring.taught import add_shares

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
ROWS = sorted([*RESULTS.glob("*.json"), *RESULTS.glob("*/results.json")])
LONG = "word-cached-of-a-rather-long-name-"


@pytest.fixture(autouse=True)
def as_drawn() -> Iterator[None]:
    with rc_context({**STYLE, "axes.grid": False}):
        yield


def rows(students: int, **more: Any) -> list[dict[str, Any]]:
    """Return a teacher, and students of one size; later students are better."""
    teacher = {"system": "teacher", "role": "teacher", "bleu": 40.0, "parameters": 9_000_000}
    student = {"role": "student", "method": "word", "parameters": 1_000_000, "bleu_std": 0.3, "seeds": 3} | more
    return [teacher, *({"system": f"{LONG}{i}", "bleu": 30 + i / 10} | student for i in range(students))]


def texts(figure: Any) -> dict[str, Any]:
    """Return the boxes of the figure's texts in pixels. A text that occurs twice has a number."""
    figure.draw_without_rendering()
    found = list(figure.texts)
    for axis in figure.axes:
        found += [*axis.texts, axis.xaxis.label, axis.yaxis.label]
        for side, limits in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
            low, high = sorted(limits)
            found += [tick.label1 for tick in side.get_major_ticks() if low <= tick.get_loc() <= high]
    seen: dict[str, Any] = {}
    for text in found:
        if name := text.get_text().strip():
            seen[name if name not in seen else f"{name} {len(seen)}"] = text.get_window_extent()
    return seen


def check(figure: Any) -> None:
    boxes = texts(figure)
    for (one, first), (two, second) in itertools.combinations(boxes.items(), 2):
        wide = min(first.x1, second.x1) - max(first.x0, second.x0)
        high = min(first.y1, second.y1) - max(first.y0, second.y0)
        # Boxes of neighbouring lines touch, their letters do not.
        assert wide < 2 or high < 4, f"{one!r} is over {two!r}"
    for text, box in boxes.items():
        assert box.x0 > -1 and box.y0 > -1 and box.x1 < figure.bbox.x1 + 1 and box.y1 < figure.bbox.y1 + 1, text


@pytest.mark.parametrize("path", ROWS, ids=lambda path: path.parent.name)
def test_committed_pictures_are_readable(path: Path) -> None:
    records = read_results(path)
    shown = mean_records(records)
    add_shares(shown, records, over_seeds=True)
    check(figure_of(shown, "a title"))


def test_many_models_of_one_size_are_in_rows() -> None:
    few, many = figure_of(rows(MOST)), figure_of(rows(MOST + 1))
    assert few.axes[0].get_xlabel().startswith("size") and not any(name == f"{LONG}0" for name in texts(few))
    (axis,) = many.axes
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == ["teacher", *(f"{LONG}{i}" for i in reversed(range(MOST + 1)))]
    assert axis.get_xlabel().startswith("BLEU")
    check(many)
    said = texts(many)
    assert {"MB", "36", "4.0"} <= said.keys() and "sent/s" not in said


def test_models_of_different_speeds_are_in_panels() -> None:
    records = rows(MOST + 4)
    for number, record in enumerate(records, start=1):
        record["sentences_per_second"] = 100.0 * number
    assert [axis.get_xlabel()[:4] for axis in figure_of(records).axes] == ["sent", "size"]
    equal = [record | {"sentences_per_second": 250.0} for record in records]
    assert len((figure := figure_of(equal)).axes) == 1 and {"sent/s", "250"} <= texts(figure).keys()


def test_exported_models_have_a_second_point_and_number() -> None:
    exported = {"bleu": 29.5, "bytes": 500_000, "compute_type": "int8"}
    figure = figure_of(rows(MOST + 1, exported=exported))
    said = texts(figure)
    assert {"MB / exported", "4.0 / 0.50", "36"} <= said.keys()
    places = {
        round(float(y), 2) for line in figure.axes[0].lines if len(line.get_xdata()) == 1 for y in line.get_ydata()
    }
    assert len(places) == 1 + 2 * (MOST + 1)
    check(figure)


def test_numbers_of_columns() -> None:
    assert [_shown(each) for each in (None, 0.254, 2.44, 36.0, 1234.5)] == ["?", "0.25", "2.4", "36", "1,234"]
