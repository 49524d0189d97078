"""Each cleaning step on texts that it must change or drop, and on texts that it must leave alone."""

from __future__ import annotations

import pytest

from fairseq_lskd.data.clean.steps import (
    FILTERS,
    Facts,
    Steps,
    filters,
    main_script,
    outside_script,
    text_step,
)
from fairseq_lskd.errors import UserError


def tidied(text: str, **steps: object) -> str:
    return text_step(Steps(**steps))(text)  # type: ignore[arg-type]


def dropped(source: str, target: str, facts: Facts | None = None, **steps: object) -> str | None:
    facts = facts or Facts(("en", "de"))
    checks = filters(Steps(**steps), facts)  # type: ignore[arg-type]
    return next((name for name, check in checks if check(source, target)), None)


@pytest.mark.parametrize(
    ("steps", "text", "expected"),
    [
        ({}, " a\u00a0 b\x07 ", " a\u00a0 b\x07 "),
        ({"unicode": "NFC"}, "Mu\u0308ller", "Müller"),
        ({"unicode": "NFC"}, "ﬁne ½", "ﬁne ½"),
        ({"unicode": "NFKC"}, "ﬁne", "fine"),
        ({"controls": True}, "a\x00b\u200bc\u00add\ufeff", "abcd"),
        ({"controls": True}, "می\u200cخواهم", "می\u200cخواهم"),  # the joiner is spelling
        ({"spaces": True}, "  a \t b\u00a0\u2028c\u0085d\u3000e ", "a b c d e"),
        ({"controls": True, "spaces": True}, "a\x1f b", "a b"),
        ({"html": "unescape"}, "R&amp;amp;D &lt;3 &quot;x&quot; AT&T", 'R&D <3 "x" AT&T'),
        ({"html": "unescape"}, "a&#10;b", "a b"),  # a line stays a line
        ({"html": "strip", "spaces": True}, "<b>bold</b> <br/>and 2 < 3", "bold and 2 < 3"),
    ],
)
def test_text_steps(steps: dict, text: str, expected: str) -> None:
    assert tidied(text, **steps) == expected


def test_an_unchanged_text_is_returned_as_the_same_object() -> None:
    text = "Nothing to be done — „really“."
    steps = {"unicode": "NFC", "controls": True, "spaces": True, "html": "drop"}
    assert tidied(text, **steps) is text


@pytest.mark.parametrize(
    ("steps", "source", "target", "expected"),
    [
        ({}, "a", "b", None),
        ({}, "a", "  ", "empty"),
        ({"broken": True}, "a\ufffd", "b", "broken characters"),
        ({"html": "drop"}, "<a href='x'>link</a>", "b", "markup"),
        ({"html": "drop"}, "2 < 3 and 4 > 3", "I <3 you", None),
        ({"max_words": 3}, "a b c", "a b c", None),
        ({"max_words": 3}, "a", "a b c d", "too long"),
        ({"max_words": 3, "word_ratio": 2.0}, "a b c d", "a", "too long"),
        ({"max_chars": 4}, "abcd", "abcde", "too long"),
        ({"max_word_chars": 5}, "abcde fghij", "abcde", None),
        ({"max_word_chars": 5}, "abcdef", "x", "long word"),
        ({"ratio": 2.0}, "abcd", "ab", None),
        ({"ratio": 2.0}, "abcde", "ab", "length ratio"),
        ({"ratio": 2.0}, "ab", "abcde", "length ratio"),
        ({"word_ratio": 1.5}, "a b c", "a b", None),
        ({"word_ratio": 1.5}, "a b c d", "a b", "length ratio"),
        ({"word_ratio": 1.5}, "a b", "a b c d", "length ratio"),
        ({"copies": 1.0}, "Tom Miller 3", "tom miller 3", "copy"),
        ({"copies": 1.0}, "12:30", "12:30", "copy"),
        ({"copies": 0.5}, "a house in Berlin", "ein Haus in Berlin", "copy"),
        ({"copies": 0.6}, "a house in Berlin", "ein Haus in Berlin", None),
        ({"copies": 0.5}, "1 2", "1 2 3", None),  # numbers are the same in every language
    ],
)
def test_filters(steps: dict, source: str, target: str, expected: str | None) -> None:
    assert dropped(source, target, **steps) == expected


def test_the_ratio_is_relative_to_the_usual_ratio_of_the_languages() -> None:
    facts = Facts(("zh", "en"), lengths=(10.0, 35.0))
    assert dropped("一二三四", "fourteen chars", facts, ratio=2.0) is None
    assert dropped("一二三四", "four", facts, ratio=2.0) == "length ratio"
    assert dropped("一二三四", "x" * 29, facts, ratio=2.0) == "length ratio"


@pytest.mark.parametrize(
    ("where", "pair", "expected"),
    [
        ("pair", ("Hello there", "Hallo da"), True),
        ("pair", ("hello THERE", "hallo da"), True),
        ("pair", ("Hello there", "Guten Tag"), False),  # both occur, but not as a pair
        ("source", ("Hello there", "x"), True),
        ("source", ("x", "Hallo da"), False),
        ("target", ("x", "Hallo da"), True),
        ("either", ("x", "Guten Tag"), True),
        ("either", ("x", "y"), False),
    ],
)
def test_held_out_pairs_are_dropped(where: str, pair: tuple[str, str], expected: bool) -> None:
    held = frozenset([("hello there", "hallo da"), ("good day", "guten tag")])
    facts = Facts(
        ("en", "de"), held_out=(frozenset(s for s, _ in held), frozenset(t for _, t in held)), held_out_pairs=held
    )
    assert (dropped(*pair, facts, held_out=where) == "in valid or test") is expected


@pytest.mark.parametrize(
    ("text", "script", "outside"),
    [
        ("plain ascii", "Latin", False),
        ("Größe, naïveté, œuvre – „so“ 5 €", "Latin", False),
        ("Привет world", "Latin", True),
        ("a wörd and то", "Latin", False),
        ("中文 ABC 文本字", "Han+Hiragana+Katakana", False),
        ("All in English", "Han+Hiragana+Katakana", True),
        ("12:30 – 50 %", "Han+Hiragana+Katakana", False),  # without letters
    ],
)
def test_lines_mostly_in_another_script_are_outside(text: str, script: str, outside: bool) -> None:
    assert outside_script(text, script, 0.5) is outside


def test_the_script_of_a_side_is_that_of_most_of_its_letters() -> None:
    assert main_script(["Привет, мир", "OK"]) == "Cyrillic"
    assert main_script(["これは日本語です"]) == "Han+Hiragana+Katakana"
    assert main_script(["123", "!"]) is None
    facts = Facts(("ru", "en"), scripts=("Cyrillic", "Latin"))
    assert dropped("Привет", "Hello", facts, script=0.5) is None
    assert dropped("Hello", "Hello", facts, script=0.5) == "script"


def test_moses_counts_tokens() -> None:
    pytest.importorskip("sacremoses")
    steps = {"words": "moses", "max_words": 4}
    assert dropped("a, b.", "a b c d", **steps) is None
    assert dropped("a, b, c", "a", **steps) == "too long"  # five tokens


def test_all_problems_of_a_table_are_reported_at_once() -> None:
    table = {
        "unicod": "NFC",
        "html": "maybe",
        "controls": 1,
        "max_words": 0,
        "ratio": 0.5,
        "copies": 2,
        "script": "Latin",
    }
    with pytest.raises(UserError) as error:
        Steps.from_table(table)
    assert str(error.value).split("\n  ") == [
        "clean.unicod: unknown, did you mean unicode?",
        "clean.html = 'maybe': expected off, unescape, strip, drop",
        "clean.controls = 1: expected true or false",
        "clean.max_words = 0: expected a whole number from 1",
        "clean.ratio = 0.5: expected 1 or more",
        "clean.copies = 2: expected a share above 0, at most 1",
        "clean.script = 'Latin': expected a number",
    ]


def test_filters_are_in_the_order_of_the_report() -> None:
    steps = Steps(
        broken=True, html="drop", max_chars=9, max_word_chars=9, ratio=2, copies=1, script=0.5, held_out="pair"
    )
    facts = Facts(("en", "de"), scripts=("Latin", "Latin"))
    names = [name for name, _ in filters(steps, facts, lambda s, t: False)]
    assert sorted(names, key=FILTERS.index) == names
