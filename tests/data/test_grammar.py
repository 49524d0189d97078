"""The grammar's probabilities are exact, and its draws follow them."""

import hashlib
import json
import math
import random
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq_lskd.data.grammar import Grammar, Parameters, mixed_orders
from fairseq_lskd.data.lexicon import (
    Adjective,
    Determiner,
    Invariant,
    Lexicon,
    Noun,
    TargetAdjective,
    TargetNoun,
    TargetVerb,
    Verb,
    synonym_shares,
)
from fairseq_lskd.errors import UserError

DAY, BANK, SHORE, EDGE = (
    TargetNoun("tag", "tage", 0),
    TargetNoun("bank", "banken", 1),
    TargetNoun("ufer", "uferen", 2),
    TargetNoun("rand", "raender", 0),
)
TINY = Lexicon(
    nouns=(
        Noun("day", "days", ({DAY: 1.0}, {DAY: 1.0})),
        Noun("bank", "banks", ({BANK: 0.9, SHORE: 0.07, EDGE: 0.03}, {BANK: 0.2, SHORE: 0.5, EDGE: 0.3})),
    ),
    verbs=(
        Verb("robs", 0, {TargetVerb("raubt", "rauben", "aus"): 0.7, TargetVerb("pluendert", "pluendern"): 0.3}),
        Verb("floods", 1, {TargetVerb("flutet", "fluten"): 1.0}),
    ),
    adjectives=(Adjective("old", {TargetAdjective(("alter", "alte", "altes", "alten"), 0.8): 1.0}),),
    determiners=(Determiner("the", "thez", ("der", "die", "das", "dieP")),),
    adverbs=(Invariant("today", {"heute": 1.0}),),
    prepositions=(Invariant("at", {"an": 0.6, "bei": 0.4}),),
    conjunctions=(Invariant("while", {"waehrend": 1.0}),),
)


@pytest.fixture(scope="module")
def tiny() -> Grammar:
    return Grammar(lexicon=TINY)


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return Grammar(seed=1)


#: More ambiguous than the default in every way, with few words.
AMBIGUOUS = {"nouns": 9, "verbs": 6, "adjectives": 5, "adverbs": 3, "prepositions": 3, "ambiguous": 0.5}
AMBIGUOUS |= {"synonyms": 5, "free_order": 0.6}


@pytest.fixture(scope="module", params=[{}, AMBIGUOUS], ids=["default", "ambiguous"])
def any_grammar(request: pytest.FixtureRequest) -> Grammar:
    return Grammar(**{"seed": 1} | request.param)


def short_sources(grammar: Grammar, count: int, seed: str, limit: int = 3000) -> dict[str, dict[str, float]]:
    rng = random.Random(seed)
    found: dict[str, dict[str, float]] = {}
    while len(found) < count:
        source = grammar.sample(rng)[0]
        try:
            found[source] = grammar.translations(source, limit)
        except UserError:
            continue
    return found


# -- by hand


@pytest.mark.parametrize(
    ("source", "target", "probability"),
    [
        ("the day robs the bank .", "der tag raubt die bank aus .", 0.7 * 0.9),
        ("the day robs the bank .", "der tag pluendert das ufer .", 0.3 * 0.07),
        ("the day floods the bank .", "der tag flutet das ufer .", 0.5),
        ("thez days robs the bank .", "dieP tage rauben die bank aus .", 0.7 * 0.9),
        ("the day floods thez old banks .", "der tag flutet dieP alten banken .", 0.2 * 0.8),
        ("the day floods the old bank .", "der tag flutet der rand alter .", 0.3 * 0.2),
        ("today the day floods the day .", "heute flutet der tag der tag .", 0.6),
        ("today the day floods the day .", "der tag flutet heute der tag .", 0.15),
        ("the day robs the day at the day .", "an der tag raubt der tag der tag aus .", 0.15 * 0.6 * 0.7),
        (
            "the day floods the day while the day robs the day .",
            "der tag flutet der tag waehrend der tag der tag ausraubt .",
            0.7,
        ),
    ],
)
def test_probability_by_hand(tiny: Grammar, source: str, target: str, probability: float) -> None:
    assert tiny.log_prob(target, source) == pytest.approx(math.log(probability), abs=1e-12)


def test_support_by_hand(tiny: Grammar) -> None:
    found = tiny.translations("the day robs the bank .")
    assert found == pytest.approx(
        {
            "der tag raubt die bank aus .": 0.63,
            "der tag raubt das ufer aus .": 0.049,
            "der tag raubt der rand aus .": 0.021,
            "der tag pluendert die bank .": 0.27,
            "der tag pluendert das ufer .": 0.021,
            "der tag pluendert der rand .": 0.009,
        }
    )


def test_entropy_by_hand(tiny: Grammar) -> None:
    expected = -sum(p * math.log(p) for p in (0.7, 0.3, 0.9, 0.07, 0.03))
    assert tiny.entropy("the day robs the bank .") == pytest.approx(expected, abs=1e-12)
    assert tiny.entropy("the day floods the day .") == 0


@pytest.mark.parametrize(
    ("source", "target", "probability"),
    [
        # 0.4 x the fixed orders, and 0.6 shared by svo, sov and vso: in main clauses the verb may be anywhere.
        ("the day floods the day .", "der tag flutet der tag .", 0.4 + 0.2),
        ("the day floods the day .", "der tag der tag flutet .", 0.2),
        ("the day floods the day .", "flutet der tag der tag .", 0.2),
        # A particle ends the clause, wherever the verb is.
        ("the day robs the bank .", "der tag die bank raubt aus .", 0.2 * 0.7 * 0.9),
        ("the day robs the bank .", "raubt der tag die bank aus .", 0.2 * 0.7 * 0.9),
        # Half of the 4! orders of four constituents have the subject before the object; avso is also a fixed order.
        ("today the day floods the day .", "heute flutet der tag der tag .", 0.4 * 0.6 + 0.6 / 12),
        ("today the day floods the day .", "der tag heute der tag flutet .", 0.6 / 12),
        # Five constituents have 5! / 2 orders; the preposition distinguishes the complement from subject and object.
        ("today the day floods the day at the day .", "an der tag der tag flutet der tag heute .", 0.6 / 60 * 0.6),
        # After a conjunction the verb stays last: s and o have one order; s, o and c have three.
        (
            "the day floods the day while the day robs the day .",
            "der tag flutet der tag waehrend der tag der tag ausraubt .",
            0.6 * 0.7,
        ),
        (
            "the day floods the day while the day floods the day at the day .",
            "der tag flutet der tag waehrend an der tag der tag der tag flutet .",
            0.6 * 0.6 * 0.6 / 3,
        ),
    ],
)
def test_free_order_by_hand(source: str, target: str, probability: float) -> None:
    grammar = Grammar(lexicon=TINY, free_order=0.6)
    assert grammar.log_prob(target, source) == pytest.approx(math.log(probability), abs=1e-12)


@pytest.mark.parametrize(
    "target",
    [
        "das ufer flutet der tag .",
        "flutet das ufer der tag .",
        "der tag flutet das ufer waehrend der tag flutet der tag .",
    ],
)
def test_free_order_has_its_limits(target: str) -> None:
    """The object is never before the subject, and an embedded verb never before its object."""
    source = "the day floods the bank"
    source += " while the day floods the day ." if "waehrend" in target else " ."
    assert Grammar(lexicon=TINY, free_order=1.0).log_prob(target, source) == -math.inf


def test_entropy_of_free_orders_by_hand() -> None:
    grammar = Grammar(lexicon=TINY, free_order=0.6)
    expected = -sum(p * math.log(p) for p in (0.6, 0.2, 0.2))
    assert grammar.entropy("the day floods the day .") == pytest.approx(expected, abs=1e-12)
    alike = Grammar(lexicon=TINY, free_order=1.0)
    assert alike.entropy("the day floods the day .") == pytest.approx(math.log(3), abs=1e-12)


def test_no_two_orders_give_the_same_words() -> None:
    """Even if subject, object and complement have the same words, so that only their places differ."""
    grammar = Grammar(lexicon=TINY, free_order=1.0)
    source = "today the day floods the day at the day while today the day floods the day at the day ."
    support = grammar.translations(source)
    # 60 orders of the main clause, 12 of the verb-final one, two prepositions in each.
    assert len(support) == 60 * 2 * 12 * 2
    assert grammar.entropy(source) == pytest.approx(-math.fsum(p * math.log(p) for p in support.values()), abs=1e-9)
    for embedded, of_clause in mixed_orders(1.0).items():
        for (adverb, complement), orders in of_clause.items():
            assert math.fsum(orders.values()) == pytest.approx(1, abs=1e-12)
            words = 3 + adverb + complement - embedded
            assert len(orders) == math.factorial(words) / 2


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("die tag flutet das ufer .", "determiner's gender"),
        ("der tag fluten das ufer .", "verb's number"),
        ("der tag flutet das altes ufer .", "an adjective of nothing"),
        ("das ufer flutet der tag .", "subject and object exchanged"),
        ("der tag das ufer flutet .", "verb-final main clause"),
        ("der tag flutet das ufer aus .", "a particle that is not the verb's"),
        ("der tag flutet das ufer", "no full stop"),
        ("der tag flutet das ufer . .", "two full stops"),
        ("der tag flutet .", "no object"),
        ("der tag flutet das ufer waehrend .", "a clause too many"),
        ("", "nothing"),
    ],
)
def test_wrong_translations_are_off_support(tiny: Grammar, target: str, why: str) -> None:
    assert tiny.log_prob("der tag flutet das ufer .", "the day floods the bank .") > -math.inf
    assert tiny.log_prob(target, "the day floods the bank .") == -math.inf, why


def test_separable_verb_needs_its_particle_at_the_end(tiny: Grammar) -> None:
    source = "the day robs the day at the day ."
    assert tiny.log_prob("der tag raubt der tag bei der tag aus .", source) > -math.inf
    assert tiny.log_prob("der tag raubt der tag bei der tag .", source) == -math.inf
    assert tiny.log_prob("der tag raubt aus der tag bei der tag .", source) == -math.inf
    embedded = "the day floods the day while the day robs the day ."
    assert tiny.log_prob("der tag flutet der tag waehrend der tag der tag raubt aus .", embedded) == -math.inf


# -- of a drawn grammar


def test_probabilities_sum_to_one(any_grammar: Grammar) -> None:
    found = short_sources(any_grammar, 80, "sum")
    assert max(map(len, found.values())) > 500
    for source, support in found.items():
        assert math.fsum(support.values()) == pytest.approx(1, abs=1e-12), source


def test_log_prob_and_entropy_agree_with_the_support(any_grammar: Grammar) -> None:
    grammar = any_grammar
    for source, support in short_sources(grammar, 25, "agree", limit=500).items():
        for target, probability in support.items():
            assert grammar.log_prob(target, source) == pytest.approx(math.log(probability), abs=1e-9)
        entropy = -math.fsum(p * math.log(p) for p in support.values())
        assert grammar.entropy(source) == pytest.approx(entropy, abs=1e-9)


def test_samples_follow_the_probabilities(any_grammar: Grammar) -> None:
    grammar = any_grammar
    draws = 4000
    rng = random.Random("samples")
    for source, support in short_sources(grammar, 6, "chi", limit=60).items():
        counts = Counter(grammar.sample_target(source, rng) for _ in range(draws))
        assert set(counts) <= set(support)
        chi_square = sum((counts[t] - draws * p) ** 2 / (draws * p) for t, p in support.items())
        freedom = len(support) - 1
        # Mean `freedom`, standard deviation sqrt(2 freedom): five of them, and room for small ones.
        assert chi_square < freedom + 5 * math.sqrt(2 * freedom) + 5, source


def test_mean_log_prob_of_samples_is_minus_the_mean_entropy(any_grammar: Grammar) -> None:
    grammar = any_grammar
    rng = random.Random("mean")
    gaps = []
    for _ in range(3000):
        source, target = grammar.sample(rng)
        gaps.append(grammar.log_prob(target, source) + grammar.entropy(source))
    deviation = math.sqrt(sum(gap**2 for gap in gaps) / len(gaps))
    assert 0.5 < deviation < 5
    assert abs(sum(gaps) / len(gaps)) < 4 * deviation / math.sqrt(len(gaps))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**9),
    at=st.integers(0, 10**6),
    by=st.integers(0, 10**6),
    more=st.sampled_from([{}, {"synonyms": 4}, {"free_order": 0.5}]),
)
def test_any_edit_of_a_translation_scores_as_the_support_says(seed: int, at: int, by: int, more: dict) -> None:
    grammar = Grammar(seed=3, nouns=8, verbs=5, adjectives=4, adverbs=2, prepositions=2, ambiguous=0.5, **more)
    ((source, support),) = short_sources(grammar, 1, str(seed), limit=5000).items()
    target = grammar.sample_target(source, random.Random(seed)).split(" ")
    words = sorted({word for other in support for word in other.split(" ")})
    target[at % len(target)] = words[by % len(words)]
    edited = " ".join(target)
    assert math.exp(grammar.log_prob(edited, source)) == pytest.approx(support.get(edited, 0), abs=1e-12)


def test_number_and_gender_must_agree(grammar: Grammar) -> None:
    """A target noun in the other number is never possible, because its determiner or verb disagrees."""
    other = {}
    for noun in grammar.lexicon.nouns:
        for translation in {word for choices in noun.translations for word in choices}:
            other |= {translation.singular: translation.plural, translation.plural: translation.singular}
    rng = random.Random("agreement")
    exchanged = 0
    for _ in range(200):
        source, target = grammar.sample(rng)
        words = target.split(" ")
        for position, word in enumerate(words):
            if word in other:
                wrong = " ".join([*words[:position], other[word], *words[position + 1 :]])
                assert grammar.log_prob(wrong, source) == -math.inf
                exchanged += 1
    assert exchanged > 400


def test_the_sense_of_an_ambiguous_noun_depends_on_the_verb(grammar: Grammar) -> None:
    lexicon = grammar.lexicon
    ambiguous = [noun for noun in lexicon.nouns if len(set(map(repr, noun.translations))) > 1]
    assert 0.12 < len(ambiguous) / len(lexicon.nouns) < 0.28
    noun, determiner = ambiguous[0], lexicon.determiners[0]
    by_class = {verb.verb_class: verb for verb in lexicon.verbs}
    assert len(by_class) == 4
    chances = []
    for verb in by_class.values():
        phrase = f"{determiner.singular} {noun.singular}"
        support = grammar.translations(f"{phrase} {verb.word} {determiner.singular} {noun.singular} .")
        first = next(iter(noun.translations[0])).singular
        chances.append(sum(p for target, p in support.items() if target.split(" ")[1] == first))
    assert max(chances) == pytest.approx(9 * min(chances))


@pytest.mark.parametrize("most", [1, 2, 5, 10])
def test_the_maximum_number_of_synonyms(most: int) -> None:
    lexicon = Grammar(nouns=300, verbs=300, adjectives=300, adverbs=90, ambiguous=0.0, synonyms=most).lexicon
    for words, limit in (
        (lexicon.verbs, most),
        (lexicon.adverbs, most),
        (lexicon.adjectives, max(most - 1, 1)),
        (lexicon.prepositions, max(most - 1, 1)),
        (lexicon.conjunctions, max(most - 1, 1)),
        (lexicon.nouns, most),
    ):
        each = [word.translations[0] if isinstance(word, Noun) else word.translations for word in words]
        assert all(math.fsum(shares.values()) == pytest.approx(1, abs=1e-12) for shares in each)
        assert max(map(len, each)) <= limit
        if len(words) == 300:
            counts = Counter(map(len, each))
            assert set(counts) == set(range(1, limit + 1))
            expected = 300 / limit
            assert all(abs(count - expected) < 5 * math.sqrt(expected) for count in counts.values())


def test_shares_of_synonyms_by_hand() -> None:
    steep, even = synonym_shares(4)
    assert steep == pytest.approx((12 / 25, 6 / 25, 4 / 25, 3 / 25)) and even == pytest.approx((0.4, 0.3, 0.2, 0.1))


def test_words_follow_zipf(grammar: Grammar) -> None:
    rng = random.Random("zipf")
    rank = {form: i for i, n in enumerate(grammar.lexicon.nouns, 1) for form in (n.singular, n.plural)}
    counts = Counter(rank[w] for _ in range(6000) for w in grammar.sample(rng)[0].split(" ") if w in rank)
    total = counts.total()
    norm = sum(1 / (r + 2) for r in range(1, 301))
    for r in (1, 2, 5, 10, 20):
        expected = total / (r + 2) / norm
        assert abs(counts[r] - expected) < 5 * math.sqrt(expected)


def test_lengths_are_those_of_short_sentences(grammar: Grammar) -> None:
    rng = random.Random("lengths")
    pairs = [grammar.sample(rng) for _ in range(3000)]
    assert 8 < sum(len(target.split(" ")) for _, target in pairs) / len(pairs) < 14
    assert len({source for source, _ in pairs}) > 2990


def test_the_languages_share_no_word_and_no_form_is_ambiguous(grammar: Grammar) -> None:
    lexicon = grammar.lexicon
    rng = random.Random("words")
    pairs = [grammar.sample(rng) for _ in range(2000)]
    source = {word for pair in pairs for word in pair[0].split(" ")} - {"."}
    target = {word for pair in pairs for word in pair[1].split(" ")} - {"."}
    assert not source & target
    nouns = [w for n in lexicon.nouns for c in (n.translations[0],) for t in c for w in (t.singular, t.plural)]
    assert len(nouns) == len(set(nouns)) > 600


# -- errors, determinism, files


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("the day floods the cat .", "word 5, 'cat', is not in the lexicon; expected a noun"),
        ("the day floods the days .", "word 5, 'days', is a plural noun; expected a singular noun"),
        ("thez day floods the day .", "word 2, 'day', is a noun; expected a plural noun"),
        ("the day the day .", "word 3, 'the', is a determiner; expected a verb"),
        ("the old today .", "word 3, 'today', is an adverb; expected a noun"),
        ("the day floods the day", "it ends after word 5, expected the final '.'"),
        ("the day floods .", "word 4, '.', ends the sentence; expected a determiner"),
        ("the day floods the day . the", "word 7, 'the', is a determiner; expected nothing after the final '.'"),
        ("", "word 1, '', is not in the lexicon; expected a determiner"),
    ],
)
def test_source_outside_the_grammar(tiny: Grammar, source: str, message: str) -> None:
    for ask in (lambda: tiny.log_prob("x .", source), lambda: tiny.entropy(source), lambda: tiny.translations(source)):
        with pytest.raises(UserError) as error:
            ask()
        assert message in str(error.value)


def test_four_clauses_are_too_many(tiny: Grammar) -> None:
    clause = "the day floods the day"
    assert len(tiny.parse(" while ".join([clause] * 3) + " .")) == 3
    with pytest.raises(UserError, match="word 18, 'while', is a conjunction; expected the final"):
        tiny.parse(" while ".join([clause] * 4) + " .")


def test_every_drawn_source_is_parsed_back(grammar: Grammar) -> None:
    rng = random.Random("parse")
    for _ in range(500):
        source = grammar.sample(rng)[0]
        words = [word for clause in grammar.parse(source) for word in clause.words()]
        assert " ".join([*words, "."]) == source


def test_too_many_translations(tiny: Grammar) -> None:
    with pytest.raises(UserError, match="has 6 translations, more than the limit of 5"):
        tiny.translations("the day robs the bank .", limit=5)


PINNED = """
import hashlib, random
from fairseq_lskd.data.grammar import Grammar
grammar, rng, digest = Grammar(seed=1, %s), random.Random("train 1"), hashlib.sha256()
for _ in range(200):
    source, target = grammar.sample(rng)
    digest.update(f"{source}\\t{target}\\t{grammar.log_prob(target, source):.9f}\\n".encode())
print(digest.hexdigest())
"""


@pytest.mark.parametrize(
    ("options", "digest"),
    [
        ("", "bcf740f1b4a372254bd213e19235efcb9cbebcb429803c99167cdd44e5d13c58"),
        ("synonyms=6, free_order=0.3", "e8442650841368b00d2a17a84913101c010fdf40b13efb149ade6679a60179e4"),
    ],
)
def test_a_seed_gives_the_same_pairs_everywhere(options: str, digest: str) -> None:
    """The digest is pinned. If it changes, the corpus changes, so FORMAT_VERSION must be increased."""
    for hash_seed in ("0", "7"):
        done = subprocess.run(
            [sys.executable, "-c", PINNED % options],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
        )
        assert done.stdout.strip() == digest


def test_seeds_give_different_lexicons() -> None:
    assert Grammar(seed=1).lexicon_digest() != Grammar(seed=2).lexicon_digest()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"nouns": 0}, "--nouns 0: expected 1 to "),
        ({"ambiguous": 1.5}, "--ambiguous 1.5: expected a share"),
        ({"free_order": -0.1}, "--free-order -0.1: expected a share"),
        ({"free_order": math.nan}, "--free-order nan: expected a share"),
        ({"synonyms": 0}, "--synonyms 0: expected 1 to 10"),
        ({"synonyms": 11}, "--synonyms 11: expected 1 to 10"),
    ],
)
def test_parameters_out_of_range(parameters: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Grammar(**parameters)


@pytest.mark.parametrize("more", [{}, {"synonyms": 5}, {"synonyms": 2, "free_order": 0.25}], ids=str)
def test_json_rebuilds_the_grammar(tmp_path, more: dict) -> None:
    grammar = Grammar(seed=5, nouns=20, verbs=9, ambiguous=0.5, **more)
    assert grammar.to_json()["parameters"].keys() & {"synonyms", "free_order"} == more.keys()
    path = tmp_path / "grammar.json"
    path.write_text(json.dumps(grammar.to_json()), encoding="utf-8")
    again = Grammar.from_json(path)
    assert again.lexicon_digest() == grammar.lexicon_digest()
    source, target = grammar.sample(random.Random(0))
    assert again.log_prob(target, source) == grammar.log_prob(target, source)
    assert again.parameters == grammar.parameters


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 0}, "version 0, expected"),
        ({"lexicon_sha256": hashlib.sha256(b"").hexdigest()}, "give another lexicon"),
        ({"parameters": {"colours": 3}}, "not the description of a grammar"),
        ({"parameters": Parameters(nouns=5, verbs=5).recorded() | {"free_order": "most"}}, "free_order"),
        ({"parameters": Parameters(nouns=5, verbs=5, synonyms=4).recorded()}, "give another lexicon"),
    ],
)
def test_json_that_does_not_fit(tmp_path, change: dict, message: str) -> None:
    path = tmp_path / "grammar.json"
    path.write_text(json.dumps(Grammar(nouns=5, verbs=5).to_json() | change), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        Grammar.from_json(path)


def test_json_missing(tmp_path) -> None:
    with pytest.raises(UserError, match=r"grammar\.json: cannot be read"):
        Grammar.from_json(tmp_path / "grammar.json")
