"""The filters of production systems: what each of them drops."""

from __future__ import annotations

import itertools
import math
import pickle
import random
from pathlib import Path

import pytest

from fairseq_lskd.errors import UserError
from fairseq_lskd.lines import read_lines
from fairseq_lskd.sequences.content_filters import Brackets, Clauses, Numbers, Script, Short, UsualLength
from fairseq_lskd.sequences.filter_options import FLAGS, PRESETS
from fairseq_lskd.sequences.filters import Copies, Filter, Language, LengthRatio, Repeats, Unknown
from fairseq_lskd.sequences.pieces import has_unknown

CORPORA = Path(__file__).resolve().parents[2].parent / "shared" / "corpora"
PAIRS = [("Ein Hund läuft über die Wiese.", "A dog runs across the meadow.")] * 30
EVERY = [Numbers(), Brackets(), Clauses(), Short(), Script.learnt(0.5, PAIRS), UsualLength.learnt(5, PAIRS)]


@pytest.mark.parametrize("each", EVERY, ids=lambda each: each.name)
def test_a_good_translation_passes_also_after_pickling(each: Filter) -> None:
    again = pickle.loads(pickle.dumps(each))
    assert again == each and not again(*PAIRS[0]) and not again("", "")


@pytest.mark.parametrize(
    ("source", "hypothesis", "dropped"),
    [
        ("um 15:30 am 24.12.1999", "at 15.30 on 24/12/1999", True),  # 24121999 is not 24, 12 and 1999
        ("1.000,50 Euro", "1,000.50 euros", False),
        ("1 000 Euro", "1,000 euros", False),
        ("Artikel 17", "Article 71", True),
        ("Artikel 17", "The article", True),
        ("Der Artikel", "Article 17", True),
        ("2 Hunde", "two dogs", False),  # one digit may be a word
        ("१७ कुत्ते", "17 dogs", False),
        ("17 und 17", "17", False),
        ("Der 17.", "The 17th", False),
    ],
)
def test_numbers(source: str, hypothesis: str, dropped: bool) -> None:
    assert Numbers()(source, hypothesis) is dropped


@pytest.mark.parametrize(
    ("source", "hypothesis", "dropped"),
    [
        ("Ein Hund (klein)", "A dog (small", True),
        ("Ein Hund (klein)", "A dog (small)", False),
        ("a) Ein Hund", "a) A dog", False),
        ("Er sagt: „Ja“", "He says: “Yes”", False),
        ("Er sagt: „Ja“", 'He says: "Yes', True),
        ("Er sagt: „Ja", 'He says: "Yes', False),  # a quotation that goes on
        ("It's", "c'est", False),
        ("Ja", "«Oui", True),
        ("\u300c\u306f\u3044\u300d", "\u300c\u306f\u3044", True),
    ],
)
def test_brackets(source: str, hypothesis: str, dropped: bool) -> None:
    assert Brackets()(source, hypothesis) is dropped


@pytest.mark.parametrize(
    ("source", "hypothesis", "dropped"),
    [
        ("Perfect!", "Perfekt! Perfekt!", True),
        ("Perfect! Perfect!", "Perfekt! perfekt!", False),
        ("Yes, yes, I know.", "Ja, ja, ich weiß.", False),
        ("I know.", "Ich weiß, ich weiß, ich  weiß.", True),
        ("It is very good.", "Es ist sehr, sehr gut.", False),
        ("1, 1, 2", "1, 1, 2", False),
        ("1, 2", "1, 1, 2", False),  # another filter compares numbers
        ("好。", "好。好。", True),
        ("wait...", "warte...", False),
    ],
)
def test_clauses(source: str, hypothesis: str, dropped: bool) -> None:
    assert Clauses()(source, hypothesis) is dropped


@pytest.mark.parametrize(
    ("source", "hypothesis", "dropped"),
    [
        ("A dog", ".", True),
        ("A dog", "!?", True),
        ("...", ".", False),
        ("Yes", "是", False),
        ("A dog runs across the meadow", "a", True),
        ("A dog runs across the meadow", "ab", False),
        ("A dog", "", True),
    ],
)
def test_short(source: str, hypothesis: str, dropped: bool) -> None:
    assert Short()(source, hypothesis) is dropped


def test_the_script_is_that_of_most_translations() -> None:
    russian = Script.learnt(0.5, [("a dog", "собака")] * 5 + [("a dog", "a dog")])
    assert russian.script == "Cyrillic"
    assert russian("a dog", "a dog") and not russian("a dog", "собака") and not russian("17", "17")
    assert not russian("Windows", "система Win") and russian("Windows", "Windows ок")
    assert not Script.learnt(0.5, [("1", "1")])("a", "x")  # without letters there is no script


def test_the_usual_length_is_learnt_from_the_pairs() -> None:
    """Targets are twice as long, with a deviation of sqrt(length). Bad translations must not change the estimate."""
    chance = random.Random(1)
    sample = []
    for _ in range(4000):
        length = chance.randint(9, 100)
        sample.append(("x" * length, "y" * round(2 * length + chance.gauss(0, math.sqrt(length)))))
    found = UsualLength.learnt(4, sample + [("x" * 50, "y")] * 400)
    assert found.ratio == pytest.approx(2, abs=0.05) and found.spread == pytest.approx(1, abs=0.15)
    # For 100 characters, 200 are usual, with a standard deviation of 10. Spaces do not count.
    assert not found("x" * 100, "y y" * 115) and found("x" * 100, "y" * 255) and found("x" * 100, "y" * 145)
    assert sum(found(*pair) for pair in sample) < 10


def test_with_too_few_pairs_no_length_is_unusual() -> None:
    assert not UsualLength.learnt(1, PAIRS[:5])("a", "b" * 1000)
    assert not UsualLength.learnt(1, [])("a", "b" * 1000)


@pytest.mark.parametrize("word", ["<unk>", "<<unk>>", "<UNK>", "< unk >", "&lt;unk&gt;", "[UNK]", "\u2047"])
def test_unknown_words_in_any_spelling(word: str) -> None:
    assert has_unknown(f"a {word} b") and not has_unknown(f"a {word[1:-1].strip('<>&ltg;')} b")


def test_invalid_limits_are_refused() -> None:
    with pytest.raises(UserError, match=r"--filter-script 0: expected above 0.*at most 1"):
        Script.learnt(0, [])
    for limit in (0, -1, math.inf, math.nan):
        with pytest.raises(UserError, match=r"--filter-usual-length .*: expected above 0"):
            UsualLength.learnt(limit, [])


def test_every_filter_has_its_flag() -> None:
    names = {each.name for each in (*EVERY, LengthRatio(2), Copies(1), Repeats(1, 1), Unknown())} | {Language.name}
    assert names <= FLAGS.keys()
    assert all(f"--{name.replace('_', '-')}" in FLAGS.values() for name in PRESETS["clean"])


@pytest.mark.parametrize(("corpus", "languages"), [("europarl-en-fr", ("en", "fr")), ("tatoeba-en-de", ("en", "de"))])
def test_the_preset_leaves_good_translations_alone(corpus: str, languages: tuple[str, str]) -> None:
    """It drops at most 2 % of human translations."""
    sides = [CORPORA / corpus / f"test.{language}.gz" for language in languages]
    if not sides[0].is_file():
        pytest.skip("no corpora beside the checkout")
    pairs = list(itertools.islice(zip(*map(read_lines, sides), strict=True), 1000))
    every = (Numbers(), Brackets(), Clauses(), Short(), Unknown(), Repeats(4, 2), Copies(0.8))
    learnt = (Script.learnt(0.5, pairs), UsualLength.learnt(5, pairs))
    assert sum(any(each(*pair) for each in (*every, *learnt)) for pair in pairs) <= 0.02 * len(pairs)
