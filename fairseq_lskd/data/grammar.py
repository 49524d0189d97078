"""A synchronous grammar that generates a bitext and computes the exact `p(target | source)` of any pair.

Source sentences are clauses `(adverb) NP verb NP (preposition NP)`, joined by conjunctions. An NP is
`determiner (adjective) noun`; determiner and noun mark its number. A translation chooses at random:

- a word order for each clause: an adverb may cause inversion, the prepositional phrase may move, and
  clauses after a conjunction are verb-final. With `free_order`, a share of the clauses has any order in which the
  subject precedes the object (after a conjunction, the verb is still last);
- a synonym for each word, and for an ambiguous noun a sense, which depends on the class of the clause's
  verb. Determiner and adjective agree with the chosen noun's gender and number, the verb with its subject;
- for separable verbs, a particle at the clause's end (in verb-final clauses it stays with the verb);
- the adjective's place, before or after the noun.

Choices in different constituents are independent given the source, and the words of a clause determine its order.
So probabilities multiply and entropies add, and nothing is estimated by sampling.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from ..errors import UserError
from ..reading import COUNT, NUMBER, misfit, read_json, shown
from .dialects import DIALECTS, Dialect, spelt
from .lexicon import (
    MOST_SYNONYMS,
    PLURAL,
    Adjective,
    Determiner,
    Invariant,
    Lexicon,
    Noun,
    Verb,
    build_lexicon,
)

T = TypeVar("T")
Tokens = tuple[str, ...]
Distribution = dict[Tokens, float]

FORMAT = "fairseq_lskd generated bitext"
FORMAT_VERSION = 1  # increase it with every change to a probability or a draw

# Probabilities of the source.
CLAUSES = {1: 0.6, 2: 0.3, 3: 0.1}
ADVERB, COMPLEMENT, ADJECTIVE, PLURAL_NOUN = 0.3, 0.35, 0.35, 0.4

#: Whether a clause is embedded -> (adverb, complement) present -> order -> probability.
Orders = dict[bool, dict[tuple[bool, bool], dict[str, float]]]

#: Target word orders: a adverb, s subject, v verb, o object, c complement (preposition and NP).
#: A separable verb's particle ends a main clause.
ORDERS: Orders = {
    False: {  # main clause
        (False, False): {"svo": 1.0},
        (False, True): {"svoc": 0.6, "svco": 0.25, "cvso": 0.15},
        (True, False): {"avso": 0.6, "asvo": 0.25, "svao": 0.15},
        (True, True): {"avsoc": 0.4, "avsco": 0.2, "asvoc": 0.2, "svaoc": 0.1, "svaco": 0.1},
    },
    True: {  # after a conjunction
        (False, False): {"sov": 1.0},
        (False, True): {"socv": 0.7, "scov": 0.3},
        (True, False): {"asov": 0.7, "saov": 0.3},
        (True, True): {"asocv": 0.5, "ascov": 0.2, "saocv": 0.3},
    },
}


def mixed_orders(free: float) -> Orders:
    """Mix `ORDERS` with a uniform distribution, of weight `free`, over all orders with the subject before the object.

    With the object first, two orders could give the same words. The verb of an embedded clause stays last.
    """
    if free == 0:
        return ORDERS
    mixed: Orders = {}
    for embedded, of_clause in ORDERS.items():
        mixed[embedded] = {}
        for (adverb, complement), fixed in of_clause.items():
            permutations = map("".join, itertools.permutations("a" * adverb + "svo" + "c" * complement))
            orders = [o for o in permutations if o.index("s") < o.index("o") and (o[-1] == "v" or not embedded)]
            mixed[embedded][adverb, complement] = {
                order: (1 - free) * fixed.get(order, 0.0) + free / len(orders)
                for order in dict.fromkeys([*fixed, *orders])
            }
    return mixed


@dataclass(frozen=True)
class NounPhrase:
    determiner: Determiner
    adjective: Adjective | None
    noun: Noun
    plural: bool

    def words(self, dialect: Dialect = DIALECTS[0]) -> list[str]:
        determiner = self.determiner.plural if self.plural else self.determiner.singular
        noun = self.noun.plural if self.plural else self.noun.singular
        adjective = [self.adjective.word] if self.adjective else []
        return [determiner, *adjective, noun] if dialect.adjective_first else [determiner, noun, *adjective]


@dataclass(frozen=True)
class Clause:
    conjunction: Invariant | None  # joins it to the previous clause
    adverb: Invariant | None
    subject: NounPhrase
    verb: Verb
    object: NounPhrase
    preposition: Invariant | None
    complement: NounPhrase | None

    def words(self, dialect: Dialect = DIALECTS[0]) -> Iterator[str]:
        parts = {
            "a": [self.adverb.word] if self.adverb else [],
            "s": self.subject.words(dialect),
            "v": [self.verb.word],
            "o": self.object.words(dialect),
            "c": [self.preposition.word, *self.complement.words(dialect)]
            if self.preposition and self.complement
            else [],
        }
        if self.conjunction:
            yield self.conjunction.word
        for part in dialect.order:
            yield from parts[part]


#: Per word class. Most words have three syllables (256,000 possible words); when these run out, words get longer.
MOST_WORDS = 100_000


@dataclass(frozen=True)
class Parameters:
    """The parameters of a generated grammar: its seed, the number of words per class, and its ambiguity."""

    seed: int = 1
    nouns: int = 300
    verbs: int = 120
    adjectives: int = 100
    adverbs: int = 30
    prepositions: int = 12
    ambiguous: float = 0.2  # share of nouns with two senses
    separable: float = 0.25  # share of target verbs with a particle
    synonyms: int = 3  # maximum translations of a verb, an adverb or a noun's sense; one fewer for other words
    free_order: float = 0.0  # share of clauses in free order
    dialect: int = 0  # number of the source language in `DIALECTS`

    def __post_init__(self) -> None:
        for name in ("nouns", "verbs", "adjectives", "adverbs", "prepositions"):
            if not 1 <= getattr(self, name) <= MOST_WORDS:
                raise UserError(f"--{name} {getattr(self, name)}: expected 1 to {MOST_WORDS:,}")
        for name in ("ambiguous", "separable", "free_order"):
            if not 0 <= getattr(self, name) <= 1:
                flag = f"--{name.replace('_', '-')}"
                raise UserError(f"{flag} {getattr(self, name)}: expected a share between 0 and 1")
        if not 1 <= self.synonyms <= MOST_SYNONYMS:
            raise UserError(f"--synonyms {self.synonyms}: expected 1 to {MOST_SYNONYMS}")
        if not 0 <= self.dialect < len(DIALECTS):
            raise UserError(f"--dialect {self.dialect}: expected 0 to {len(DIALECTS) - 1}")

    def recorded(self) -> dict[str, Any]:
        """Return the parameters to record. Those in `LATER` are left out if they have their default."""
        default = Parameters()
        given = asdict(self)
        return {name: given[name] for name in given if name not in LATER or given[name] != getattr(default, name)}


#: Parameters that files of earlier versions lack. Their defaults give the grammars of those versions.
LATER = ("synonyms", "free_order", "dialect")


class Grammar:
    """The joint distribution of source and target. It draws pairs and scores them exactly.

    `Grammar(seed=1, nouns=300, ...)` draws a lexicon (see `Parameters`). `Grammar(lexicon=...)` uses the given one, in
    which no two words may share a form. Of the parameters, only `free_order` and `dialect` apply to it.
    """

    def __init__(self, lexicon: Lexicon | None = None, **parameters: Any) -> None:
        chosen = Parameters(**parameters)
        self.parameters = None if lexicon else chosen
        self.dialect = DIALECTS[chosen.dialect]
        of_lexicon = {k: v for k, v in asdict(chosen).items() if k not in ("free_order", "dialect")}
        self.lexicon = spelt(lexicon or build_lexicon(**of_lexicon), self.dialect)
        self._mixed_orders = mixed_orders(chosen.free_order)
        self._entries = _entries(self.lexicon)
        self._conjunctions = {word for conjunction in self.lexicon.conjunctions for word in conjunction.translations}
        self._ranks: dict[int, list[float]] = {}  # size of a word class -> cumulative Zipf weights

    # -- drawing

    def sample(self, rng: random.Random) -> tuple[str, str]:
        """Draw a source sentence and one of its translations."""
        clauses = self._draw_clauses(rng)
        return self._source(clauses), self._draw_translation(clauses, rng)

    def sample_target(self, source: str, rng: random.Random) -> str:
        """Draw a translation of `source` from `p(target | source)`."""
        return self._draw_translation(self.parse(source), rng)

    def _source(self, clauses: list[Clause]) -> str:
        return _sentence([word for clause in clauses for word in clause.words(self.dialect)])

    def _draw_clauses(self, rng: random.Random) -> list[Clause]:
        return [self._draw_clause(position > 0, rng) for position in range(_draw(CLAUSES, rng))]

    def _draw_clause(self, embedded: bool, rng: random.Random) -> Clause:
        words = self.lexicon
        conjunction = self._word(words.conjunctions, rng) if embedded else None
        adverb = self._word(words.adverbs, rng) if rng.random() < ADVERB else None
        subject = self._draw_noun_phrase(rng)
        verb = self._word(words.verbs, rng)
        object_ = self._draw_noun_phrase(rng)
        preposition, complement = None, None
        if rng.random() < COMPLEMENT:
            preposition = self._word(words.prepositions, rng)
            complement = self._draw_noun_phrase(rng)
        return Clause(conjunction, adverb, subject, verb, object_, preposition, complement)

    def _draw_noun_phrase(self, rng: random.Random) -> NounPhrase:
        determiner = self._word(self.lexicon.determiners, rng)
        adjective = self._word(self.lexicon.adjectives, rng) if rng.random() < ADJECTIVE else None
        noun = self._word(self.lexicon.nouns, rng)
        return NounPhrase(determiner, adjective, noun, rng.random() < PLURAL_NOUN)

    def _word(self, words: Sequence[T], rng: random.Random) -> T:
        """Draw one of the words, which are in rank order, by Zipf's law with Mandelbrot's shift."""
        if len(words) not in self._ranks:
            weights = [1 / (rank + 2) for rank in range(1, len(words) + 1)]
            self._ranks[len(words)] = list(itertools.accumulate(weights))
        cumulated = self._ranks[len(words)]
        return words[bisect.bisect(cumulated, rng.random() * cumulated[-1], hi=len(words) - 1)]

    def _draw_translation(self, clauses: list[Clause], rng: random.Random) -> str:
        words: list[str] = []
        for clause in clauses:
            if clause.conjunction:
                words.append(_draw(clause.conjunction.translations, rng))
            order = _draw(self._orders(clause), rng)
            chosen = {name: _draw(choices, rng) for name, choices in _constituents(clause).items()}
            words += _arrange(order, chosen)
        return _sentence(words)

    # -- scoring

    def log_prob(self, target: str, source: str) -> float:
        """Return the exact `log p(target | source)` in nats, or `-inf` for a target that the grammar cannot generate.

        Raise `UserError` if `source` is not a sentence of the grammar.
        """
        clauses = self.parse(source)
        words = target.split(" ")
        if words.pop() != ".":
            return -math.inf
        parts: list[list[str]] = [[]]  # a conjunction starts a new clause, and occurs nowhere else
        for word in words:
            if word in self._conjunctions:
                parts.append([])
            parts[-1].append(word)
        if len(parts) != len(clauses):
            return -math.inf
        total = 0.0
        for clause, part in zip(clauses, parts, strict=True):
            probability = _clause_probability(clause, part, self._orders(clause))
            if probability == 0:
                return -math.inf
            total += math.log(probability)
        return total

    def entropy(self, source: str) -> float:
        """Return the exact entropy of `p(. | source)` in nats.

        Raise `UserError` if `source` is not a sentence of the grammar.
        """
        return math.fsum(_entropy(choices) for clause in self.parse(source) for choices in self._all_choices(clause))

    def translations(self, source: str, limit: int = 1_000_000) -> dict[str, float]:
        """Return every translation of `source` with its probability. The probabilities sum to 1.

        Raise `UserError` if there are more than `limit`, or `source` is not a sentence of the grammar.
        """
        clauses = self.parse(source)
        size = math.prod(len(choices) for clause in clauses for choices in self._all_choices(clause))
        if size > limit:
            raise UserError(f"the source has {size:,} translations, more than the limit of {limit:,}: {source}")
        found: Distribution = {(): 1.0}
        for clause in clauses:
            ways = _clause_translations(clause, self._orders(clause))
            found = {
                (*before, *after): p * q for (before, p), (after, q) in itertools.product(found.items(), ways.items())
            }
        return {_sentence(words): probability for words, probability in found.items()}

    def parse(self, source: str) -> list[Clause]:
        """Return the clauses of a source sentence. Raise `UserError`, with the first wrong word, if it is not one."""
        return _Parser(source, self._entries, self.dialect).clauses()

    def _orders(self, clause: Clause) -> dict[str, float]:
        parts = clause.adverb is not None, clause.complement is not None
        return self._mixed_orders[clause.conjunction is not None][parts]

    def _all_choices(self, clause: Clause) -> Iterator[Mapping[Any, float]]:
        """Yield the distributions of a clause's independent choices. No two outcomes give the same words."""
        if clause.conjunction:
            yield clause.conjunction.translations
        yield self._orders(clause)
        yield from _constituents(clause).values()

    # -- on disk

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` needs to rebuild this grammar, which must have been drawn from parameters."""
        if self.parameters is None:
            raise ValueError("a grammar with a given lexicon has no parameters to save")
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "parameters": self.parameters.recorded(),
            "lexicon_sha256": self.lexicon_digest(),
        }

    @classmethod
    def from_json(cls, path: str | Path) -> Grammar:
        """Rebuild the grammar of a `grammar.json`. Raise `UserError` if it cannot be rebuilt exactly."""
        record = read_json(path, {"format": str, "version": COUNT}, "the grammar.json that `lskd generate` writes")
        if (record["format"], record["version"]) != (FORMAT, FORMAT_VERSION):
            raise UserError(
                f"{path}: found format {shown(record['format'])} version {record['version']}, "
                f"expected {FORMAT!r} version {FORMAT_VERSION}; generate the bitext again"
            )
        given = {each.name: COUNT if each.type == "int" else NUMBER for each in fields(Parameters)}
        shape = {f"{name}?" if name in LATER else name: kind for name, kind in given.items()}
        if problem := misfit(record, {"parameters": shape, "lexicon_sha256": str}):
            raise UserError(f"{path}: not the description of a grammar ({problem}); generate the bitext again")
        if others := record["parameters"].keys() - given.keys():
            raise UserError(f"{path}: unknown parameters {shown(sorted(others))}; generate the bitext again")
        grammar = cls(**record["parameters"])
        if grammar.lexicon_digest() != record["lexicon_sha256"]:
            raise UserError(f"{path}: these parameters give another lexicon in this version; generate the bitext again")
        return grammar

    def lexicon_digest(self) -> str:
        """Return the SHA-256 of the lexicon, which changes with every word and probability."""
        return hashlib.sha256(repr(self.lexicon).encode()).hexdigest()


# -- the distribution of a clause's parts


def _constituents(clause: Clause) -> dict[str, Distribution]:
    """Return the translations of each constituent, by its letter in `ORDERS`.

    Those of a separable verb are (verb, particle), which `_arrange` separates.
    """
    embedded = clause.conjunction is not None
    verb_class = clause.verb.verb_class
    found: dict[str, Distribution] = {}
    if clause.adverb:
        found["a"] = {(word,): p for word, p in clause.adverb.translations.items()}
    found["s"] = _noun_phrase(clause.subject, verb_class)
    found["v"] = _verb(clause.verb, clause.subject.plural, embedded)
    found["o"] = _noun_phrase(clause.object, verb_class)
    if clause.preposition and clause.complement:
        found["c"] = {
            (word, *words): p * q
            for word, p in clause.preposition.translations.items()
            for words, q in _noun_phrase(clause.complement, verb_class).items()
        }
    return found


def _noun_phrase(phrase: NounPhrase, verb_class: int) -> Distribution:
    found: Distribution = {}
    for noun, p in phrase.noun.translations[verb_class].items():
        agreement = PLURAL if phrase.plural else noun.gender
        determiner = phrase.determiner.forms[agreement]
        word = noun.plural if phrase.plural else noun.singular
        if phrase.adjective is None:
            found[determiner, word] = found.get((determiner, word), 0.0) + p
            continue
        for adjective, q in phrase.adjective.translations.items():
            form = adjective.forms[agreement]
            for words, r in (
                ((determiner, form, word), adjective.before),
                ((determiner, word, form), 1 - adjective.before),
            ):
                if r > 0:
                    found[words] = found.get(words, 0.0) + p * q * r
    return found


def _verb(verb: Verb, plural: bool, embedded: bool) -> Distribution:
    found: Distribution = {}
    for choice, p in verb.translations.items():
        form = choice.plural if plural else choice.singular
        words: Tokens = (form,)
        if choice.particle:
            words = (choice.particle + form,) if embedded else (form, choice.particle)
        found[words] = found.get(words, 0.0) + p
    return found


def _arrange(order: str, chosen: Mapping[str, Tokens]) -> list[str]:
    words = [word for name in order for word in (chosen[name][:1] if name == "v" else chosen[name])]
    return words + list(chosen["v"][1:])


def _clause_translations(clause: Clause, orders: Mapping[str, float]) -> Distribution:
    constituents = _constituents(clause)
    starts = clause.conjunction.translations if clause.conjunction else {None: 1.0}
    found: Distribution = {}
    for choice in itertools.product(*(choices.items() for choices in constituents.values())):
        chosen = {name: words for name, (words, _) in zip(constituents, choice, strict=True)}
        probability = math.prod(p for _, p in choice)
        for (order, p), (start, q) in itertools.product(orders.items(), starts.items()):
            words = (*([start] if start else []), *_arrange(order, chosen))
            found[words] = found.get(words, 0.0) + probability * p * q
    return found


def _clause_probability(clause: Clause, words: list[str], orders: Mapping[str, float]) -> float:
    """Return `p(words | clause)`: the sum over the orders in which the words can be read."""
    probability = 1.0
    if clause.conjunction:
        probability = clause.conjunction.translations.get(words[0], 0.0) if words else 0.0
        words = words[1:]
    constituents = _constituents(clause)
    # All translations of a constituent have the same length, except for the verb's particle.
    lengths = {name: len(next(iter(choices))) for name, choices in constituents.items()}
    lengths["v"] = 1
    extra = len(words) - sum(lengths.values())
    if extra not in (0, 1):
        return 0.0
    particle = tuple(words[len(words) - extra :])
    total = 0.0
    for order, p in orders.items():
        start = 0
        for name in order:
            end = start + lengths[name]
            part = tuple(words[start:end]) + (particle if name == "v" else ())
            p *= constituents[name].get(part, 0.0)
            start = end
            if p == 0:
                break
        total += p
    return probability * total


def _entropy(choices: Mapping[Any, float]) -> float:
    return -math.fsum(p * math.log(p) for p in choices.values() if p > 0)


def _draw(choices: Mapping[T, float], rng: random.Random) -> T:
    point = rng.random()
    last = None
    for outcome, probability in choices.items():
        point -= probability
        if point < 0:
            return outcome
        last = outcome
    return cast(T, last)  # the probabilities sum to slightly less than 1, by rounding


# -- the source language


def _sentence(words: Sequence[str]) -> str:
    return " ".join((*words, "."))


Entry = tuple[str, Any, bool]  # word class, lexicon entry, whether the form is plural


def _entries(lexicon: Lexicon) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    classes: dict[str, Sequence[Any]] = {
        "noun": lexicon.nouns,
        "determiner": lexicon.determiners,
        "verb": lexicon.verbs,
        "adjective": lexicon.adjectives,
        "adverb": lexicon.adverbs,
        "preposition": lexicon.prepositions,
        "conjunction": lexicon.conjunctions,
    }
    for kind, entries in classes.items():
        for entry in entries:
            if kind in ("noun", "determiner"):
                found[entry.singular] = (kind, entry, False)
                found[entry.plural] = (kind, entry, True)
            else:
                found[entry.word] = (kind, entry, False)
    return found


class _Parser:
    """Parses a source sentence from left to right. Every word has one class, so one word of lookahead is enough."""

    def __init__(self, source: str, entries: dict[str, Entry], dialect: Dialect) -> None:
        self.words, self.entries, self.dialect, self.position = source.split(" "), entries, dialect, 0

    def clauses(self) -> list[Clause]:
        found = [self._clause(None)]
        while len(found) < max(CLAUSES) and self._kind() == "conjunction":
            found.append(self._clause(self._take("conjunction")))
        if self._kind() != ".":
            raise self._error("the final '.'")
        self.position += 1
        if self.position < len(self.words):
            raise self._error("nothing after the final '.'")
        return found

    def _clause(self, conjunction: Invariant | None) -> Clause:
        found: dict[str, Any] = dict.fromkeys(("adverb", "preposition", "complement"))
        for part in self.dialect.order:
            if part == "a" and self._kind() == "adverb":
                found["adverb"] = self._take("adverb")
            elif part == "c" and self._kind() == "preposition":
                found |= {"preposition": self._take("preposition"), "complement": self._noun_phrase()}
            elif part == "v":
                found["verb"] = self._take("verb")
            elif part in "so":
                found["subject" if part == "s" else "object"] = self._noun_phrase()
        return Clause(conjunction, **found)

    def _noun_phrase(self) -> NounPhrase:
        plural = self._plural()
        determiner = self._take("determiner")
        adjective = self._adjective() if self.dialect.adjective_first else None
        if self._kind() == "noun" and self._plural() != plural:
            raise self._error(f"a {'plural' if plural else 'singular'} noun, to agree with its determiner")
        noun = self._take("noun")
        return NounPhrase(determiner, adjective if self.dialect.adjective_first else self._adjective(), noun, plural)

    def _adjective(self) -> Any:
        return self._take("adjective") if self._kind() == "adjective" else None

    def _take(self, kind: str) -> Any:
        if self._kind() != kind:
            raise self._error(f"a{'n' if kind[0] == 'a' else ''} {kind}")
        self.position += 1
        return self.entries[self.words[self.position - 1]][1]

    def _kind(self) -> str:
        if self.position >= len(self.words):
            return "the end"
        word = self.words[self.position]
        return "." if word == "." else self.entries[word][0] if word in self.entries else "unknown"

    def _plural(self) -> bool:
        return self._kind() in ("noun", "determiner") and self.entries[self.words[self.position]][2]

    def _error(self, expected: str) -> UserError:
        where = "the source is not a sentence of this grammar"
        kind = self._kind()
        if kind == "the end":
            return UserError(f"{where}: it ends after word {len(self.words)}, expected {expected}")
        word = self.words[self.position]
        if kind == "unknown":
            found = "is not in the lexicon"
        elif kind == ".":
            found = "ends the sentence"
        else:
            found = f"is a {'plural ' if self._plural() else ''}{kind}".replace("is a a", "is an a")
        return UserError(f"{where}: word {self.position + 1}, {word!r}, {found}; expected {expected}")
