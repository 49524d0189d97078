"""Related source languages of the generated bitext, which are translated into one target language.

A dialect has the words of the first one, in another spelling and order. Consonants change everywhere, as in a sound
shift, so words without them are shared, and no word has another meaning elsewhere. Each sentence of one dialect
corresponds to one of another, with the same `p(target | source)`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .lexicon import Lexicon


@dataclass(frozen=True)
class Dialect:
    """A source language."""

    language: str  #: its code, in names of files
    shift: tuple[str, str]  #: consonants that it changes, and the letters in their place, which no other language has
    order: str  #: of a clause: a adverb, s subject, v verb, o object, c complement; a and c are optional
    adjective_first: bool  #: whether an adjective stands before its noun


#: By number. The first is the source language of all bitexts of earlier versions.
DIALECTS = (
    Dialect("xx", ("", ""), "asvoc", adjective_first=True),
    Dialect("ww", ("pt", "wc"), "asocv", adjective_first=True),
    Dialect("zz", ("ks", "qx"), "vsoca", adjective_first=False),
)


def spelt(lexicon: Lexicon, dialect: Dialect) -> Lexicon:
    """Return the lexicon with its source words in the spelling of a dialect. Everything else is unchanged."""
    if not any(dialect.shift):
        return lexicon

    def one(word: str) -> str:
        return word.translate(str.maketrans(*dialect.shift))

    return Lexicon(
        nouns=tuple(replace(each, singular=one(each.singular), plural=one(each.plural)) for each in lexicon.nouns),
        verbs=tuple(replace(each, word=one(each.word)) for each in lexicon.verbs),
        adjectives=tuple(replace(each, word=one(each.word)) for each in lexicon.adjectives),
        determiners=tuple(
            replace(each, singular=one(each.singular), plural=one(each.plural)) for each in lexicon.determiners
        ),
        adverbs=tuple(replace(each, word=one(each.word)) for each in lexicon.adverbs),
        prepositions=tuple(replace(each, word=one(each.word)) for each in lexicon.prepositions),
        conjunctions=tuple(replace(each, word=one(each.word)) for each in lexicon.conjunctions),
    )
