"""Every link from one page to another, or to a file, leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .pages import ROOT, anchors, links, pages


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for target in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name) if name else page
        if not there.exists():
            wrong.append(f"{target}: no such file")
        elif anchor and anchor not in anchors(there.read_text(encoding="utf-8")):
            wrong.append(f"{target}: no such heading")
    assert not wrong


def test_anchors_are_those_of_the_host() -> None:
    text = "# `lskd x`: a, *b*\n## Is it as good?\n```\n# no heading\n```\n### On one GPU, on eight\n"
    assert anchors(text) == {"lskd-x-a-b", "is-it-as-good", "on-one-gpu-on-eight"}
