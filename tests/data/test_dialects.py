"""Related source languages of the generated bitext: one meaning and one target language, other words and orders."""

from __future__ import annotations

import math
import random
from itertools import islice
from pathlib import Path

import pytest

from fairseq_lskd import cli
from fairseq_lskd.data.dialects import DIALECTS
from fairseq_lskd.data.generated import draw_pairs, draw_references
from fairseq_lskd.data.grammar import Grammar
from fairseq_lskd.errors import UserError
from fairseq_lskd.lines import read_lines

from .test_grammar import TINY

NUMBERS = range(len(DIALECTS))


@pytest.fixture(scope="module")
def grammars() -> list[Grammar]:
    return [Grammar(seed=1, nouns=60, dialect=number) for number in NUMBERS]


def in_dialect(source: str, number: int) -> str:
    """A sentence of the first dialect with every clause rewritten by hand-written rules: an independent reference."""
    plain, words = Grammar(lexicon=TINY), []
    for clause in plain.parse(source):
        phrases = [clause.subject, clause.object, *([clause.complement] if clause.complement else [])]
        said = []
        for phrase in phrases:
            determiner = "thez" if phrase.plural else "the"
            noun = phrase.noun.plural if phrase.plural else phrase.noun.singular
            old = ["old"] if phrase.adjective else []
            said.append([determiner, noun, *old] if number == 2 else [determiner, *old, noun])
        complement = [clause.preposition.word, *said[2]] if clause.preposition else []
        adverb = [clause.adverb.word] if clause.adverb else []
        words += [clause.conjunction.word] if clause.conjunction else []
        words += {
            0: [*adverb, *said[0], clause.verb.word, *said[1], *complement],
            1: [*adverb, *said[0], *said[1], *complement, clause.verb.word],
            2: [clause.verb.word, *said[0], *said[1], *complement, *adverb],
        }[number]
    text = " ".join([*words, "."])
    for old, new in ({}, {"p": "w", "t": "c"}, {"k": "q", "s": "x"})[number].items():
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("number", NUMBERS)
def test_orders_and_spelling_by_hand(number: int) -> None:
    source = "today the old day robs thez banks at the bank ."
    assert (
        in_dialect(source, number)
        == (
            "today the old day robs thez banks at the bank .",
            "coday che old day chez banks ac che bank robs .",
            "robx the day old thez banqx at the banq today .",
        )[number]
    )
    grammar, plain = Grammar(lexicon=TINY, dialect=number), Grammar(lexicon=TINY)
    rng = random.Random(1)
    for _ in range(50):
        source, target = plain.sample(rng)
        ours = in_dialect(source, number)
        assert grammar.log_prob(target, ours) == plain.log_prob(target, source) > -math.inf
        assert grammar.translations(ours) == plain.translations(source)


def test_words_are_shared_or_unknown_elsewhere(grammars: list[Grammar]) -> None:
    forms = [grammar._entries for grammar in grammars]
    assert len({len(each) for each in forms}) == 1, "no two words may become one"
    for one in NUMBERS:
        for other in NUMBERS[one + 1 :]:
            shared = forms[one].keys() & forms[other].keys()
            assert 0.1 * len(forms[one]) < len(shared) < 0.7 * len(forms[one])
            # A shared word has the same translations in both.
            for form in shared:
                (kind, entry, plural), (other_kind, other_entry, other_plural) = forms[one][form], forms[other][form]
                assert (kind, plural) == (other_kind, other_plural)
                assert kind == "determiner" or repr(entry.translations) == repr(other_entry.translations)


def test_every_drawn_source_is_parsed_back(grammars: list[Grammar]) -> None:
    for grammar in grammars:
        for source, target in islice(draw_pairs(grammar, "train", 1), 200):
            assert grammar._source(grammar.parse(source)) == source and grammar.log_prob(target, source) > -math.inf


def test_valid_and_test_say_the_same_and_train_does_not(grammars: list[Grammar]) -> None:
    for split in ("valid", "test"):
        drawn = [list(islice(draw_pairs(grammar, split, 1), 30)) for grammar in grammars]
        assert len({tuple(target for _, target in pairs) for pairs in drawn}) == 1
        again = [
            list(draw_references(g, [s for s, _ in pairs], 1, 1)) for g, pairs in zip(grammars, drawn, strict=True)
        ]
        assert again[0] == again[1] == again[2]
    train = [{target for _, target in islice(draw_pairs(grammar, "train", 1), 300)} for grammar in grammars]
    assert all(len(train[one] & train[other]) < 15 for one in NUMBERS for other in NUMBERS[one + 1 :])


def test_the_command_names_files_by_language(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    sizes = ["--train", "30", "--valid", "5", "--test", "5", "--references", "2"]
    for number, dialect in enumerate(DIALECTS):
        out = tmp_path / dialect.language
        assert cli.main(["generate", "--out", str(out), *sizes, "--dialect", str(number)]) == 0
        assert f" {dialect.language} " in capsys.readouterr().out
        assert len(list(read_lines(out / f"train.{dialect.language}"))) == 30
        grammar = Grammar.from_json(out / "grammar.json")
        assert grammar.dialect == dialect
    same = [[(tmp_path / each.language / name).read_bytes() for name in ("test.yy", "test.1.yy")] for each in DIALECTS]
    assert same[0] == same[1] == same[2]


def test_an_unknown_dialect() -> None:
    with pytest.raises(UserError, match="--dialect 3: expected 0 to 2"):
        Grammar(dialect=3)
