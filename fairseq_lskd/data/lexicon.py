"""The lexicon of the generated bitext: pseudo-words, their senses, synonyms and inflected forms.

The two languages share no word: their syllables begin with different consonants.
Entries are in rank order, and a word of rank r is used with probability proportional to 1 / (r + 2).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

SOURCE_ONSETS, TARGET_ONSETS = "ptkmnlsr", "bdfgvzhj"
VOWELS = "aeiou"
SOURCE_CODAS, TARGET_CODAS = "nlsr", "dgzb"

#: Target determiners and adjectives agree with the gender of a singular noun (0 to 2), or with the plural.
PLURAL = 3
AGREEMENT_ENDINGS = ("o", "a", "e", "i")
NOUN_PLURALS = ("iv", "ah", "uj")  # by gender

SYNONYMS: dict[int, tuple[tuple[float, ...], ...]] = {
    1: ((1.0,),),
    2: ((0.8, 0.2), (0.65, 0.35), (0.5, 0.5)),
    3: ((0.6, 0.3, 0.1), (0.5, 0.3, 0.2)),
}
MOST_SYNONYMS = 10
VERB_CLASSES = 4
LIKELY_SENSE = 0.9  # probability of the sense of an ambiguous noun that the verb's class favours
ADJECTIVE_BEFORE = (0.9, 0.15)  # probability of standing before the noun, by class of the target adjective


# Entries compare by identity, which is fast: they are keys of distributions and are looked up very often.
@dataclass(frozen=True, eq=False)
class TargetNoun:
    singular: str
    plural: str
    gender: int


@dataclass(frozen=True, eq=False)
class Noun:
    """A source noun, with the probabilities of its translations given the class of the clause's verb."""

    singular: str
    plural: str
    translations: tuple[dict[TargetNoun, float], ...]  # by verb class


@dataclass(frozen=True, eq=False)
class TargetVerb:
    singular: str
    plural: str
    particle: str | None = None


@dataclass(frozen=True, eq=False)
class Verb:
    word: str
    verb_class: int
    translations: dict[TargetVerb, float]


@dataclass(frozen=True, eq=False)
class TargetAdjective:
    forms: tuple[str, ...]  # by agreement
    before: float  # the probability of standing before the noun


@dataclass(frozen=True, eq=False)
class Adjective:
    word: str
    translations: dict[TargetAdjective, float]


@dataclass(frozen=True, eq=False)
class Determiner:
    singular: str
    plural: str
    forms: tuple[str, ...]  # the target's, by agreement


@dataclass(frozen=True, eq=False)
class Invariant:
    """An adverb, a preposition or a conjunction."""

    word: str
    translations: dict[str, float]


@dataclass(frozen=True, eq=False)
class Lexicon:
    nouns: tuple[Noun, ...]
    verbs: tuple[Verb, ...]
    adjectives: tuple[Adjective, ...]
    determiners: tuple[Determiner, ...]
    adverbs: tuple[Invariant, ...]
    prepositions: tuple[Invariant, ...]
    conjunctions: tuple[Invariant, ...]


def draw_index(rng: random.Random, count: int) -> int:
    """Draw an index below `count`, using only `random()`, whose sequence is the same in every version of Python."""
    return int(rng.random() * count)


def synonym_shares(count: int) -> tuple[tuple[float, ...], ...]:
    """Return the possible distributions over `count` synonyms, each with the most probable synonym first."""
    if count in SYNONYMS:
        return SYNONYMS[count]
    # A steep distribution (Zipf's law) and a more even one. Not sum(), which rounds differently before Python 3.12.
    weights = [1 / rank for rank in range(1, count + 1)], [float(rank) for rank in range(count, 0, -1)]
    return tuple(tuple(weight / math.fsum(each) for weight in each) for each in weights)


class _Words:
    """Creates new words. No two words share a form."""

    def __init__(self, rng: random.Random, onsets: str, codas: str) -> None:
        self.rng, self.onsets, self.codas = rng, onsets, codas
        self.taken: set[str] = set()

    def new(self, syllables: int, forms: Callable[[str], tuple[str, ...]] = lambda stem: (stem,)) -> str:
        tries = 0
        while True:
            # Short words may run out: after every 50 failed tries, add a syllable.
            stem = self._stem(syllables + tries // 50)
            words = forms(stem)
            if not self.taken.intersection(words):
                self.taken.update(words)
                return stem
            tries += 1

    def _stem(self, syllables: int) -> str:
        letters = [self._one(self.onsets) + self._one(VOWELS) for _ in range(syllables)]
        return "".join(letters) + self._one(self.codas)

    def _one(self, letters: str) -> str:
        return letters[draw_index(self.rng, len(letters))]


def build_lexicon(
    seed: int,
    nouns: int,
    verbs: int,
    adjectives: int,
    adverbs: int,
    prepositions: int,
    ambiguous: float,
    separable: float,
    synonyms: int = 3,
) -> Lexicon:
    """Draw a lexicon. The same arguments give the same lexicon on every machine.

    Args:
        ambiguous: share of nouns with two senses.
        separable: share of target verbs with a particle.
        synonyms: maximum number of translations of a verb, an adverb or a noun's sense; one fewer for other words. All
            numbers from 1 to the maximum are equally likely.
    """
    fewer = max(synonyms - 1, 1)
    rng = random.Random(f"lexicon {seed}")
    source, target = _Words(rng, SOURCE_ONSETS, SOURCE_CODAS), _Words(rng, TARGET_ONSETS, TARGET_CODAS)

    def length(rank: int, count: int) -> int:
        return 1 if 10 * rank < count else 2 if 2 * rank < count else 3  # frequent words are short

    def shares(most: int) -> tuple[float, ...]:
        choices = synonym_shares(1 + draw_index(rng, most))
        return choices[draw_index(rng, len(choices))]

    def target_noun(syllables: int) -> TargetNoun:
        gender = draw_index(rng, 3)
        ending = NOUN_PLURALS[gender]
        stem = target.new(syllables, lambda stem: (stem, stem + ending))
        return TargetNoun(stem, stem + ending, gender)

    def noun(rank: int) -> Noun:
        syllables = length(rank, nouns)
        stem = source.new(syllables, lambda stem: (stem, stem + "im"))
        senses = [
            {target_noun(syllables): share for share in shares(synonyms)}
            for _ in range(2 if rng.random() < ambiguous else 1)
        ]
        if len(senses) == 1:
            return Noun(stem, stem + "im", (senses[0],) * VERB_CLASSES)
        # Half of the verb classes favour the first sense, half the second.
        order = sorted(range(VERB_CLASSES), key=lambda _: rng.random())
        first = [LIKELY_SENSE if order[c] < VERB_CLASSES / 2 else 1 - LIKELY_SENSE for c in range(VERB_CLASSES)]
        return Noun(
            stem,
            stem + "im",
            tuple(
                {
                    word: weight * share
                    for weight, sense in ((w, senses[0]), (1 - w, senses[1]))
                    for word, share in sense.items()
                }
                for w in first
            ),
        )

    def target_forms(stem: str) -> tuple[str, ...]:
        return tuple(stem + ending for ending in AGREEMENT_ENDINGS)

    def target_verb(syllables: int) -> TargetVerb:
        particle = particles[draw_index(rng, len(particles))] if rng.random() < separable else None
        stem = target.new(
            syllables,
            # In verb-final clauses, a particle and its verb are one word.
            lambda stem: tuple(p + stem + ending for p in ("", *particles) for ending in ("ir", "ur")),
        )
        return TargetVerb(stem + "ir", stem + "ur", particle)

    def invariant(most: int) -> Invariant:
        return Invariant(source.new(1), {target.new(1): share for share in shares(most)})

    particles = [target.new(1) for _ in range(6)]
    return Lexicon(
        determiners=tuple(
            Determiner(stem, stem + "e", target_forms(target.new(1, target_forms)))
            for stem in (source.new(1, lambda stem: (stem, stem + "e")) for _ in range(3))
        ),
        conjunctions=tuple(invariant(fewer) for _ in range(4)),
        prepositions=tuple(invariant(fewer) for _ in range(prepositions)),
        adverbs=tuple(invariant(synonyms) for _ in range(adverbs)),
        nouns=tuple(noun(rank) for rank in range(nouns)),
        verbs=tuple(
            Verb(
                source.new(length(rank, verbs)),
                draw_index(rng, VERB_CLASSES),
                {target_verb(length(rank, verbs)): share for share in shares(synonyms)},
            )
            for rank in range(verbs)
        ),
        adjectives=tuple(
            Adjective(
                source.new(length(rank, adjectives)),
                {
                    TargetAdjective(
                        target_forms(target.new(length(rank, adjectives), target_forms)),
                        ADJECTIVE_BEFORE[draw_index(rng, 2)],
                    ): share
                    for share in shares(fewer)
                },
            )
            for rank in range(adjectives)
        ),
    )
