"""Tokenised text is detected, and plain text is not."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from fairseq_lskd.data.tokenised import looks_tokenised, unknown_words

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("▁A ▁man .", "SentencePiece"),
        ("a m@@ an in black", "subword-nmt"),
        ("it was cut o@@", "subword-nmt"),
        ("well @-@ known", "Moses"),
        ("don &apos;t", "Moses"),
    ],
)
def test_one_trace_of_pieces_or_tokens_in_200_lines_is_enough(line: str, what: str) -> None:
    (found,) = looks_tokenised([*["A sentence."] * 199, line])
    assert found.startswith("1 line (200) with ") and what in found


def test_a_trace_in_a_thousand_lines_may_be_generated_by_a_model() -> None:
    text = ["A sentence."] * 990
    assert not looks_tokenised([*text, *["The man &apos;s hat."] * 4])
    assert looks_tokenised([*text, *["The man &apos;s hat."] * 5])


def test_plain_text_has_no_traces() -> None:
    assert looks_tokenised(["A man.", "me@@example.com", "AT&T", "@-@", "5 . 5", "A slip .", *["x."] * 20]) == []
    assert looks_tokenised(["Ein Satz wie dieser.", "Noch einer .", *["x."] * 20]) == []


@pytest.mark.parametrize(("tokenised", "of", "seen"), [(1, 3, 0), (2, 3, 1), (9, 100, 0), (10, 100, 1), (99, 5000, 0)])
def test_periods_by_their_share(tokenised: int, of: int, seen: int) -> None:
    found = looks_tokenised([*["a ."] * tokenised, *["a."] * (of - tokenised)])
    assert len(found) == seen
    assert not looks_tokenised([]) and len(looks_tokenised(["a ."] * 100 + ["a."] * 9000)) == 1


JAPANESE = ["猫がマットの上にいる。", "今日は、雨が降るだろう。"] * 20
CHINESE = ["猫坐在垫子上。", "今天，可能会下雨。"] * 20
#: A space between clauses, as in Thai.
THAI = ["แมวนั่งอยู่บนเสื่อในห้อง และหมาวิ่งอยู่ในสวนหลังบ้าน"] * 20


@pytest.mark.parametrize("text", [JAPANESE, CHINESE, THAI], ids=["ja", "zh", "th"])
def test_scripts_without_spaces(text: list[str]) -> None:
    assert looks_tokenised(text) == []
    assert looks_tokenised([*text, f"{text[0][:2]} {text[0][2:]}"]) == []  # a name in two words
    found = "; ".join(looks_tokenised([" ".join(line[i : i + 3] for i in range(0, len(line), 3)) for line in text]))
    assert "40 lines" in found or "20 lines" in found
    assert "spaces in a script that has none" in found
    assert looks_tokenised([" ".join(line) for line in text], punctuation=False) == []


@pytest.mark.parametrize("mark", ["。", "、", "，", "？"])
def test_a_space_before_a_wide_mark(mark: str) -> None:
    (found,) = looks_tokenised([f"猫がいる {mark}"] * 20)
    assert "20 lines" in found and "before punctuation" in found


@pytest.mark.parametrize(
    "line", ["Well , I see it", "Why ?", "Stop ! Now", "I see , ", "Who knows ? Nobody .", "I .  "]
)
def test_a_space_before_punctuation(line: str) -> None:
    assert looks_tokenised([line] * 20 + ["Nothing here"] * 20)[0].startswith("20 lines")
    assert looks_tokenised([line] + ["Nothing here"] * 20) == []
    assert looks_tokenised([line] * 20, punctuation=False) == []


def test_french_has_spaces_before_question_marks() -> None:
    asked = ["Ça va ?", "Attends !"] * 20
    assert looks_tokenised(asked, "fr") == []
    assert looks_tokenised(asked + ["Oui, bien sûr."] * 60) == []  # the language is not given
    assert len(looks_tokenised(asked, "en")) == 1
    assert len(looks_tokenised([*asked, *["Oui , bien sûr ."] * 60], "fr")) == 1


def test_slips_in_a_large_file() -> None:
    lines = ["A well-known fact."] * 20_000
    assert not looks_tokenised([*lines, *["AT&amp;T"] * 90])
    assert len(looks_tokenised([*lines, *["a&amp;b"] * 110])) == 1
    assert not looks_tokenised([*lines, *["A slip ."] * 150])
    assert len(looks_tokenised([*lines, *["A ."] * 250])) == 1


def test_unknown_words() -> None:
    assert unknown_words(["a", "the <unk> of", "<<unk>>", "x⁇", "<unknown>", "&lt;unk&gt; a", "[UNK]"]) == [
        2,
        3,
        4,
        6,
        7,
    ]


@pytest.mark.skipif(not CORPORA.is_dir(), reason="no ../shared/corpora")
@pytest.mark.parametrize("path", sorted(CORPORA.glob("*/*.gz")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_false_alarm_on_real_text(path: Path) -> None:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        lines = [line.rstrip("\n") for line, _ in zip(stream, range(20_000), strict=False)]
    assert looks_tokenised(lines) == []
    assert looks_tokenised(lines, path.name.split(".")[-2]) == []
    assert looks_tokenised(lines[:150], path.name.split(".")[-2]) == []
