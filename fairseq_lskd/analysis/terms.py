"""What a report calls classes, examples and what is resampled: in translation, and for any other classifier."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """Words for the same things."""

    kind: str  #: a class, as `class`
    kinds: str
    kind_in_full: str
    kinds_in_full: str
    occurrences: str  #: the examples of a class
    tokens: str  #: all examples
    each: str  #: one of them, with its article
    units: str  #: what is resampled
    accuracy: str
    definition: str  #: what a class is, in a sentence
    setting: str  #: what the models were asked, in a sentence
    forced: str  #: how they were asked, after "of the tokens"
    more_quality: str  #: what says more of quality, after a full stop
    settled_by: str  #: how to compare students
    taught: bool  #: whether students, and looks under dropout, can be given


TRANSLATION = Terms(
    kind="type",
    kinds="types",
    kind_in_full="token type",
    kinds_in_full="token types",
    occurrences="occurrences",
    tokens="tokens",
    each="a token",
    units="sentences",
    accuracy="token accuracy",
    definition="A class is a target token type, an example one occurrence of it under teacher forcing.",
    setting="All models saw the same sentences, with the reference as the decoder's input.",
    forced=" under teacher forcing",
    more_quality=". (BLEU needs decoding: `lskd score`)",
    settled_by="train one from each and give both as --student",
    taught=True,
)

CLASSIFIER = Terms(
    kind="class",
    kinds="classes",
    kind_in_full="class",
    kinds_in_full="classes",
    occurrences="examples",
    tokens="examples",
    each="an example",
    units="examples",
    accuracy="accuracy",
    definition="An example is of the class that its label names, whatever was predicted.",
    setting="All outputs are of the same examples, as the files have them.",
    forced="",
    more_quality="",
    settled_by="train one from each and compare them",
    taught=False,
)
