"""fairseq-generate prints hypotheses in the order of its batches; this puts them back into corpus order."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from ..lines import read_lines


class Hypothesis(NamedTuple):
    score: float  #: fairseq's: log2-probability over length ** lenpen
    text: str  #: tokens joined by spaces, or text if fairseq-generate was told to remove the BPE


def harvest(path: str | os.PathLike[str], sentences: int, mark: str = "H") -> list[list[Hypothesis]]:
    """The hypotheses of each sentence, best first, from what fairseq-generate printed.

    Args:
        path: its output, or the `generate-SUBSET.txt` of --results-path.
        sentences: how many sentences were given to it.
        mark: of the lines to read: H, or D for those with its --tokenizer and --bpe undone.

    Returns:
        A list a sentence, in corpus order; empty where fairseq-generate skipped the sentence.

    Raises:
        UserError: if the output was cut off or belongs to another corpus.
    """
    hypotheses: list[list[Hypothesis]] = [[] for _ in range(sentences)]
    finished = False
    for number, line in enumerate(read_lines(Path(path)), 1):
        if line.startswith(f"{mark}-"):
            try:
                label, score, text = line.split("\t", 2)
                index = int(label[2:])
                if index < 0:
                    raise ValueError
                hypothesis = Hypothesis(float(score), text)
            except ValueError:
                raise UserError(
                    f"{path}, line {number}: expected '{mark}-ID<tab>SCORE<tab>TEXT', found {line[:60]!r}"
                ) from None
            if index >= sentences:
                raise UserError(
                    f"{path}, line {number}: sentence {index} of a corpus of {sentences:,} lines; "
                    "the output is of another corpus"
                )
            if not math.isfinite(hypothesis.score):
                raise UserError(
                    f"{path}, line {number}: the score is {hypothesis.score}, no number: the weights of the model that "
                    "translated are broken. Train it again, or take an earlier checkpoint"
                )
            hypotheses[index].append(hypothesis)
        elif line.startswith("Generate ") or "| Translated " in line:
            finished = True
    if not any(hypotheses):
        raise UserError(f"{path} has no hypothesis (no line starts with '{mark}-'): is it fairseq-generate's output?")
    if not finished:
        raise UserError(f"{path} was cut off: fairseq-generate's closing line is missing; run it again")
    return hypotheses
