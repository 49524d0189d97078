"""The README fits on a screen or two, and shows what was really measured."""

from __future__ import annotations

import re

from .pages import ROOT, pages

README = (ROOT / "README.md").read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a text, without the lines below their heads."""
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [row for row in found if not set("".join(row)) <= set("-: ")]


def test_it_fits_its_limit() -> None:
    assert len(README.splitlines()) <= 120


def test_the_quickstart_table_is_that_of_the_committed_rows() -> None:
    committed = (ROOT / "docs/results/quickstart-generated.md").read_text(encoding="utf-8")
    names, *systems = rows(committed)
    shown = rows(README.partition("## Quickstart")[2].partition("## Distil")[0])
    places = [names.index(name) for name in shown[0]]
    assert shown[1:] == [[system[place] for place in places] for system in systems]
    (signature,) = re.findall(r"`(BLEU: .*)`", README)
    assert signature in committed


def test_old_riddles_are_gone() -> None:
    """Sentences that readers stumbled over, and the way they were built."""
    old = [
        "is told by the digests",
        "is seen by how it begins",
        "What nothing has changed for",
        "Measured is one training step",
        "then mends in memory what would fail",
        "in nats a sentence",
        "nats a token",
        "make training data of",
        "was made otherwise",
        "scores of this would be wrong",
    ]
    prose = {page: page.read_text(encoding="utf-8") for page in pages() if "docs/results" not in str(page)}
    found = {(str(page.relative_to(ROOT)), words) for page, text in prose.items() for words in old if words in text}
    assert not found
