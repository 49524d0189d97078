"""Comparing the sources of translations with the text that they should be of."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences.source_text import SourceText, is_form_of

LINE = "Ein Hund läuft über „die“ Straße & bellt."


@pytest.mark.parametrize(
    "translated",
    [
        LINE,
        "▁Ein ▁Hund ▁läuf t ▁über ▁„ die “ ▁Straße ▁& ▁bellt .",
        '▁ein ▁hund ▁läuft ▁über ▁" die " ▁strasse ▁& ▁bellt .',
        "Ein Hun@@ d läuft über &quot; die &quot; Straße &amp; bell@@ t .",
        "▁Ein ▁Hund ▁l <0xC3> <0xA4> uft ▁über ▁„die“ ▁Straße ▁& ▁bellt.",
        "__de__ ▁Ein ▁Hund ▁läuft ▁über ▁<unk> die <unk> ▁Straße ▁& ▁bellt .",
        "<MINED_DATA> __deu_Latn__ ▁Ein ▁Hund",
        "[de_DE] Ein Hund läuft über <unk>",
        "<unk> <unk> <unk>",
        "Ein <unk> <unk> ü <unk> .",
        "Ein Hund läuft",
        "Ein Hund laeuft ueber „die“ Strasse & bellt.",
    ],
)
def test_the_same_sentence_in_another_form(translated: str) -> None:
    assert is_form_of(translated, LINE)


@pytest.mark.parametrize(
    ("translated", "line"),
    [
        ("Ein Mann schläft unter einem Baum.", LINE),
        ("Ein Hund schläft auf der Wiese hinter dem Haus.", LINE),
        ("", LINE),
        ("?", LINE),
        ("▁Ja .", "Nein."),
        ("▁eins", "zwei"),
        (LINE, ""),
        ("<unk> Katze", "Der Hund"),
        ("狗在街上跑", "猫在树上睡觉"),
    ],
)
def test_another_sentence(translated: str, line: str) -> None:
    assert not is_form_of(translated, line)


@pytest.mark.parametrize(("translated", "line"), [("", ""), ("...", "\u2026"), ("", "\u200b"), ("! ▁<unk>", "! ♥")])
def test_lines_without_letters_are_alike(translated: str, line: str) -> None:
    assert is_form_of(translated, line)


def test_the_first_line_that_differs_is_named_in_any_order_of_the_sentences(tmp_path: Path) -> None:
    text = SourceText(tmp_path / "test.de", ["eins", "zwei", "drei"])
    for index, translated in ((2, "zwei"), (7, "acht"), (1, "drei"), (0, "▁eins")):
        text.add(index, translated)
    with pytest.raises(UserError, match=r"out: sentence 1 is not line 2 .*test\.de\. It translates 'drei', .*'zwei'"):
        text.check(Path("out"))


def test_the_same_text_is_accepted(tmp_path: Path) -> None:
    text = SourceText(tmp_path / "test.de", ["eins"])
    text.add(0, "▁eins")
    text.check(Path("out"))
