"""Write sections as one HTML page with embedded plots, and as JSON, CSV, SVG and PNG files."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from .document import Picture, Section, Table
from .saving import is_nothing, write_files

#: Number of rows of a table on the page; the CSV file has all rows.
SHOWN = 24

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 16px/1.5 Georgia, 'Times New Roman', serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #111; background: #fff; }
h1, h2 { font-family: Helvetica, Arial, sans-serif; line-height: 1.2; }
h2 { margin-top: 2.5rem; border-top: 1px solid #999; padding-top: 1rem; break-after: avoid; }
.lead { font-size: 1.3rem; font-weight: bold; }
figure { margin: 1.5rem 0; break-inside: avoid; }
figure img { max-width: 100%; }
figcaption, caption { font-size: .9rem; color: #333; text-align: left; padding: .3rem 0; }
.scroll { overflow-x: auto; margin: 1.5rem 0; }
table { border-collapse: collapse; font: 13px/1.35 Helvetica, Arial, sans-serif; }
th, td { padding: .25rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid #ccc; }
th { border-bottom: 2px solid #333; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.held::before { content: "\\2713\\00a0"; } td.not-held::before { content: "\\2717\\00a0"; }
td.undecided::before { content: "?\\00a0"; }
td.held, td.not-held, td.undecided, td.not-measured { white-space: nowrap; }
td.held, td.not-held { font-weight: bold; }
@media print { body { font-size: 11pt; max-width: none; margin: 0; } .scroll { overflow: visible; } }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% for section in sections %}
<section>
<h2>{{ section.title }}</h2>
{% for line in section.words %}
<p{% if loop.first and outer_first(section) %} class="lead"{% endif %}>{{ line }}</p>
{% endfor %}
{% for picture in section.pictures %}
<figure>
<img src="{{ source(picture) }}" alt="{{ picture.caption }}">
<figcaption>{{ picture.caption }} Numbers: tables/{{ picture.table }}.csv</figcaption>
</figure>
{% endfor %}
{% for table in section.tables %}
<div class="scroll"><table>
<caption>{{ table.caption }}{% if table.rows|length > shown %} The first {{ shown }} of \
{{ "{:,}".format(table.rows|length) }} rows; tables/{{ table.name }}.csv has all.{% endif %}</caption>
<thead><tr>{% for column in columns(table) %}<th scope="col">{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows[:shown] %}
<tr>{% for value in cells(table, row) %}<td{{ kind(value) }}>{{ cell(value) }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table></div>
{% endfor %}
</section>
{% endfor %}
</body>
</html>
"""


def cell(value: Any) -> str:
    """Format a value for the page, with four significant digits."""
    if is_nothing(value):
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _kind(value: Any) -> Markup:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Markup(' class="n"')
    if value in ("held", "not held", "undecided", "not measured"):
        return Markup(f' class="{value.replace(" ", "-")}"')
    return Markup("")


def page(title: str, sections: Sequence[Section], images: dict[str, bytes]) -> str:
    """Return the HTML page. `images` has the SVG of each picture by name."""

    def source(picture: Picture) -> str:
        return "data:image/svg+xml;base64," + base64.b64encode(images[picture.name]).decode()

    def narrow(table: Table) -> list[int]:
        # Tables of verdicts show the interval in one column; its parts are only in the CSV file.
        hidden = {"value", "low", "high"} if "verdict" in table.columns else set()
        return [i for i, column in enumerate(table.columns) if column not in hidden]

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(TEMPLATE).render(
        title=title,
        sections=sections,
        source=source,
        shown=SHOWN,
        cell=cell,
        kind=_kind,
        columns=lambda table: [table.columns[i] for i in narrow(table)],
        cells=lambda table, row: [row[i] for i in narrow(table)],
        outer_first=lambda section: section is sections[0],
    )


def write_report(folder: Path, title: str, sections: Sequence[Section]) -> None:
    """Write report.html, numbers.json, tables/*.csv and pictures/*.svg and *.png to an existing folder.

    Raises:
        ValueError: if two tables or two pictures have the same name, or the table of a picture is missing.
    """
    tables = [table for section in sections for table in section.tables]
    pictures = [picture for section in sections for picture in section.pictures]
    for names in ([table.name for table in tables], [picture.name for picture in pictures]):
        if len(names) != len(set(names)):
            raise ValueError(f"found duplicate names: {sorted(names)}")
    if lost := {picture.table for picture in pictures} - {table.name for table in tables}:
        raise ValueError(f"found pictures without a table of their numbers: {sorted(lost)}")
    for name in ("tables", "pictures"):
        (folder / name).mkdir()
    for section in sections:
        write_files(section, folder / "tables", folder / "pictures")
    images = {picture.name: (folder / f"pictures/{picture.name}.svg").read_bytes() for picture in pictures}
    (folder / "numbers.json").write_text(numbers(title, sections), encoding="utf-8")
    (folder / "report.html").write_text(page(title, sections, images), encoding="utf-8")


def numbers(title: str, sections: Sequence[Section]) -> str:
    """Return all sections as JSON: the text, and each table as a list of records, with null for NaN."""
    found = {
        "title": title,
        "sections": [
            {
                "title": section.title,
                "words": list(section.words),
                "tables": {
                    table.name: {
                        "caption": table.caption,
                        "rows": [
                            {column: _json(value) for column, value in zip(table.columns, row, strict=True)}
                            for row in table.rows
                        ],
                    }
                    for table in section.tables
                },
            }
            for section in sections
        ],
    }
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
