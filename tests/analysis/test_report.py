"""Tests of the report: it is complete, escaped and reproducible."""

import csv
import json
import math
import re
import xml.etree.ElementTree

import pytest
from matplotlib.figure import Figure

from fairseq_lskd.analysis.document import Picture, Section, Table
from fairseq_lskd.analysis.report import SHOWN, cell, write_report


def sections():
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot([0, 1], [1, 0])
    rows = [(f"▁<b>{i}", i / 7, None, math.nan) for i in range(SHOWN + 3)]
    first = Section(
        "The answer",
        ["Take A & B."],
        [Table("claims", "Claims.", ("claim", "verdict", "value"), [("It is", "not held", 0.5)])],
    )
    second = Section(
        "Types",
        ["Many."],
        [Table("types", "All.", ("type", "share", "none", "nan"), rows)],
        [Picture("curve", "A curve.", figure, "types")],
    )
    return [first, second]


def test_every_number_is_in_csv_and_json(tmp_path):
    write_report(tmp_path, "A title", sections())
    with (tmp_path / "tables/types.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["type", "share", "none", "nan"] and len(rows) == SHOWN + 4
    assert rows[4][1] == "0.42857143" and rows[4][0] == "▁<b>3" and rows[4][2] == ""
    numbers = json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert numbers["sections"][1]["tables"]["types"]["rows"][3] == {
        "type": "▁<b>3",
        "share": 3 / 7,
        "none": None,
        "nan": None,
    }
    assert [section["words"] for section in numbers["sections"]] == [["Take A & B."], ["Many."]]


def test_the_page_needs_no_other_file_and_escapes_text(tmp_path):
    write_report(tmp_path, "A <title>", sections())
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "<title>A &lt;title&gt;</title>" in page and "▁&lt;b&gt;0" in page and "<b>" not in page
    assert '<p class="lead">Take A &amp; B.</p>' in page and page.count('class="lead"') == 1
    assert '<td class="not-held">not held</td>' in page
    assert f"The first {SHOWN} of {SHOWN + 3} rows; tables/types.csv has all." in page
    # A table of verdicts shows the interval in one column; its parts are only in the CSV file.
    assert ">value</th>" not in page
    assert "value" in (tmp_path / "tables/claims.csv").read_text()
    body = page[page.index("<body>") : page.index("</html>")].replace("&nbsp;", " ")
    xml.etree.ElementTree.fromstring(re.sub(r"(<img [^>]*)>", r"\1/>", body))


def test_pictures_are_reproducible_files(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_report(tmp_path / name, "A", sections())
    for path in ("pictures/curve.svg", "pictures/curve.png", "report.html", "numbers.json"):
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()
    assert (tmp_path / "one/pictures/curve.png").read_bytes().startswith(b"\x89PNG")


def test_duplicate_names_and_pictures_without_tables_are_refused(tmp_path):
    one, two = sections()
    with pytest.raises(ValueError, match="duplicate names"):
        write_report(tmp_path, "A", [one, one])
    with pytest.raises(ValueError, match="without a table"):
        write_report(tmp_path, "A", [one, Section("x", [], [], two.pictures)])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (math.nan, ""),
        (12345, "12,345"),
        (0.123456, "0.1235"),
        (123456.7, "123,457"),
        ("a", "a"),
        (1e-7, "1e-07"),
    ],
)
def test_cells(value, shown):
    assert cell(value) == shown
