"""The filters: what each of them drops."""

from __future__ import annotations

import pickle
import sys

import pytest

from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences.filters import Copies, Filter, Language, LengthRatio, Repeats, refused_by

EVERY = [LengthRatio(3), Copies(0.5), Repeats(4, 2), Language("de", "en")]


@pytest.mark.parametrize("each", EVERY, ids=lambda each: each.name)
def test_a_good_translation_passes(each: Filter) -> None:
    assert not each("Ein Hund läuft über die Wiese.", "A dog runs across the meadow.")


@pytest.mark.parametrize("each", EVERY, ids=lambda each: each.name)
def test_filters_can_be_pickled(each: Filter) -> None:
    assert pickle.loads(pickle.dumps(each)) == each


@pytest.mark.parametrize(
    ("source", "hypothesis", "dropped"),
    [
        ("abcd", "ab cd ab cd ab cd", False),  # 12 to 4
        ("abcd", "ab cd ab cd ab cde", True),
        ("ab cd ab cd ab cde", "abcd", True),
        ("我是学生", "I am a student", False),
        ("", "a", True),
    ],
)
def test_length_ratio(source: str, hypothesis: str, dropped: bool) -> None:
    assert LengthRatio(3)(source, hypothesis) is dropped


@pytest.mark.parametrize(
    ("hypothesis", "dropped"),
    [
        ("Der HUND von Tom, 1999", True),
        ("the dog von tom", True),  # 2 of 4
        ("the dog of Tom in 1999", False),  # 1 of 5, as numbers are not words
        ("1999!", False),
        ("", False),
    ],
)
def test_copies(hypothesis: str, dropped: bool) -> None:
    assert Copies(0.5)("der Hund von Tom 1999", hypothesis) is dropped


def test_copies_counts_a_word_as_often_as_it_occurs() -> None:
    assert Copies(0.75)("Tom", "Tom Tom Tom dog") and not Copies(0.75)("Tom", "Tom Tom dog dog")


@pytest.mark.parametrize(
    ("source", "hypothesis", "dropped"),
    [
        ("x y z", "A b a b a B", True),  # "a b" three times
        ("x y z", "a b a b", False),
        ("x y x y z", "a b a b a b", False),  # the source repeats it, too
        ("x y x y z", "a b a b a b a b", True),
        ("x", "a b a b a b", True),  # a source without any bigram
        ("x", "a", False),
        ("x y z", "the Unionssssss", True),
        ("haaaaaaa", "haaaaaaa", False),
    ],
)
def test_a_bigram_three_times_is_dropped_unless_the_source_repeats_too(
    source: str, hypothesis: str, dropped: bool
) -> None:
    assert Repeats(2, 2)(source, hypothesis) is dropped


@pytest.mark.parametrize(
    ("source", "hypothesis", "dropped"),
    [
        ("Ein Mann fährt mit dem Fahrrad durch die Stadt.", "Ein Mann fährt mit dem Fahrrad durch die Stadt.", True),
        ("A man rides his bicycle through the city.", "A man rides his bicycle through the city.", True),
        ("Ein Mann fährt Rad.", "Un homme fait du vélo dans les rues de la ville.", True),
        ("Nein.", "No.", False),  # too short for py3langid to be sure
        ("12:30", "12:30", False),
    ],
)
def test_language(source: str, hypothesis: str, dropped: bool) -> None:
    assert Language("de", "en")(source, hypothesis) is dropped


def test_a_language_that_py3langid_does_not_know_is_refused() -> None:
    with pytest.raises(UserError, match=r"--filter-language de,xx: .*\bxx\b.* de .* en "):
        Language("de", "xx")


def test_a_missing_py3langid_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid", None)
    with pytest.raises(UserError, match=r"--filter-language .*py3langid.*fairseq_lskd\[select\]"):
        Language("de", "en")


@pytest.mark.parametrize(
    ("kind", "values", "flag"),
    [
        (LengthRatio, [0.5], "--filter-length-ratio 0.5"),
        (LengthRatio, [float("nan")], "--filter-length-ratio nan"),
        (Copies, [0], "--filter-copies 0"),
        (Copies, [1.5], "--filter-copies 1.5"),
        (Repeats, [0, 2], "--filter-repeats 0,2"),
        (Repeats, [4, 0], "--filter-repeats 4,0"),
    ],
)
def test_invalid_limits_are_refused(kind: type, values: list[float], flag: str) -> None:
    with pytest.raises(UserError, match=f"{flag}: expected "):
        kind(*values)


def test_the_first_filter_that_drops_is_named() -> None:
    asked = (LengthRatio(2), Repeats(1, 2))
    assert refused_by(asked, "x y z", "a a a a a a a") == "length ratio"
    assert refused_by(asked, "x y z", "a a a") == "repeated n-gram"
    assert refused_by(asked, "x y z", "a b c") is None
    assert refused_by((), "x", "") is None
