#!/usr/bin/env python
"""Draws docs/images: the way of the data, and the badges of the README. Colours are readable on light and dark pages.

python docs/_hooks/draw.py
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"

DATA, MODEL, METHOD, RESULT = "#1f6feb", "#8250df", "#0b7a75", "#8a5a00"
LINE = "#848d97"  # at least 3:1 against white and against a dark page
WIDTH, HEIGHT = 148, 58
#: Name -> place of the upper left corner, colour, title, what it is.
BOXES = {
    "bitext": (6, 121, DATA, "Bitext", "raw text"),
    "pieces": (182, 121, DATA, "Prepared data", "lskd data, encode"),
    "teacher": (358, 121, MODEL, "Teacher", "label smoothing"),
    "word": (534, 61, METHOD, "Word level", "lskd cache"),
    "sequence": (534, 181, METHOD, "Sequence level", "lskd translate, select"),
    "student": (710, 121, MODEL, "Student", "plain fairseq model"),
    "score": (886, 41, RESULT, "Score", "share of gap closed"),
    "analyse": (886, 121, RESULT, "Analyse", "lskd analyze"),
    "export": (886, 201, RESULT, "Export", "int8, without fairseq"),
}
#: From, to, and what stands on the arrow.
ARROWS = [
    ("bitext", "pieces"),
    ("pieces", "teacher"),
    ("teacher", "word"),
    ("teacher", "sequence"),
    ("word", "student"),
]
ARROWS += [("sequence", "student"), ("student", "score"), ("student", "analyse"), ("student", "export")]
NOTES = [(608, 50, "word_kd"), (608, 258, "seq_kd"), (432, 198, "label_smoothed_teacher")]
FONT = 'font-family="-apple-system, Segoe UI, Helvetica, Arial, sans-serif"'
MONO = 'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"'


def box(x: int, y: int, colour: str, title: str, about: str) -> str:
    """A filled box with its two lines of text."""
    middle = x + WIDTH / 2
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{colour}"/>'
        f'<text x="{middle:g}" y="{y + 25}" font-size="15" font-weight="600" fill="#fff">{escape(title)}</text>'
        f'<text x="{middle:g}" y="{y + 44}" font-size="12" fill="#fff">{escape(about)}</text>'
    )


def arrow(start: str, end: str) -> str:
    """A curve from the right side of one box to the left side of another."""
    x, y = BOXES[start][0] + WIDTH, BOXES[start][1] + HEIGHT / 2
    to_x, to_y = BOXES[end][0] - 4, BOXES[end][1] + HEIGHT / 2
    middle = (x + to_x) / 2
    path = f"M{x} {y:g} C{middle:g} {y:g} {middle:g} {to_y:g} {to_x} {to_y:g}"
    return f'<path d="{path}" fill="none" stroke="{LINE}" stroke-width="2" marker-end="url(#tip)"/>'


def pipeline() -> str:
    """The way of the data, from a bitext to scores."""
    parts = [arrow(*ends) for ends in ARROWS]
    parts += [box(*place) for place in BOXES.values()]
    parts += [f'<text x="{x}" y="{y}" font-size="12" fill="{LINE}" {MONO}>{text}</text>' for x, y, text in NOTES]
    tip = '<marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
    tip += f'<path d="M0 0 L8 4 L0 8 z" fill="{LINE}"/></marker>'
    body = "\n".join(parts)
    title = (
        "From a bitext to a teacher, from the teacher to a student by words or by sequences, to scores and an export"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 30 1040 240" role="img" text-anchor="middle" {FONT}>\n'
        f"<title>{title}</title>\n<defs>{tip}</defs>\n{body}\n</svg>\n"
    )


def badge(name: str, value: str, colour: str) -> str:
    """A badge in the usual form."""
    left, right = 12 + round(6.4 * len(name)), 12 + round(6.4 * len(value))
    texts = "".join(
        f'<text x="{x:g}" y="14" textLength="{6.2 * len(text):g}">{escape(text)}</text>'
        for x, text in ((left / 2, name), (left + right / 2, value))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img">'
        f"<title>{escape(name)}: {escape(value)}</title>"
        f'<clipPath id="r"><rect width="{left + right}" height="20" rx="3"/></clipPath><g clip-path="url(#r)">'
        f'<rect width="{left}" height="20" fill="#555"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{colour}"/></g>'
        f'<g fill="#fff" text-anchor="middle" font-size="11" font-family="Verdana, DejaVu Sans, sans-serif">{texts}</g>'
        "</svg>\n"
    )


def badges() -> dict[str, str]:
    """The badges, with what the project's files say."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pythons = [row.rpartition(" ")[2] for row in project["classifiers"] if "Python :: 3." in row]
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    fairseq = next(pin.partition("==")[2] for pin in pins if pin.startswith("fairseq=="))
    return {
        "badge-python.svg": badge("python", " | ".join(pythons), DATA),
        "badge-fairseq.svg": badge("fairseq", f"{fairseq}, unmodified", METHOD),
        "badge-licence.svg": badge("licence", project["license"], MODEL),
    }


def drawn() -> dict[str, str]:
    """All pictures by their names."""
    return {"pipeline.svg": pipeline()} | badges()


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    for name, text in drawn().items():
        (IMAGES / name).write_text(text, encoding="utf-8")
