"""The terms of a report for classes, examples and resampled units, in translation and for other classifiers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """Terms and phrases of a report."""

    kind: str  #: a class
    kinds: str
    kind_in_full: str
    kinds_in_full: str
    occurrences: str  #: the examples of a class
    tokens: str  #: all examples
    each: str  #: unit of a mean over examples, such as "per token"
    units: str  #: the units of resampling
    accuracy: str
    definition: str  #: sentence that defines classes and examples
    setting: str  #: sentence about the inputs of the models
    forced: str  #: how tokens were predicted, after "of the tokens correctly"
    more_quality: str  #: where to find other measures of quality, after the accuracy
    settled_by: str  #: how to compare students
    taught: bool  #: whether students and dropout can be analysed


TRANSLATION = Terms(
    kind="type",
    kinds="types",
    kind_in_full="token type",
    kinds_in_full="token types",
    occurrences="occurrences",
    tokens="tokens",
    each="per token",
    units="sentences",
    accuracy="token accuracy",
    definition="A class is a target token type. An example is one occurrence of it under teacher forcing.",
    setting="All models read the same sentences, with the reference as the decoder's input.",
    forced=" under teacher forcing",
    more_quality=" (for BLEU, decode and use `lskd score`)",
    settled_by="train one student from each teacher, and give both with --student",
    taught=True,
)

CLASSIFIER = Terms(
    kind="class",
    kinds="classes",
    kind_in_full="class",
    kinds_in_full="classes",
    occurrences="examples",
    tokens="examples",
    each="per example",
    units="examples",
    accuracy="accuracy",
    definition="The class of an example is its label, whatever was predicted.",
    setting="All files have the outputs for the same examples.",
    forced="",
    more_quality="",
    settled_by="train one student from each teacher and compare them",
    taught=False,
)
