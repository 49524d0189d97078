"""Read the hypotheses that fairseq-generate printed, and put them back into corpus order."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from ..lines import read_lines
from .source_text import SourceText

#: A sentence that was translated. Tasks without a source dictionary print empty ones.
_SOURCE = re.compile(r"S-([0-9]{1,18})\t(.+)")


class Hypothesis(NamedTuple):
    score: float  #: log2-probability, divided by length ** lenpen
    text: str  #: tokens joined by spaces, or plain text with --remove-bpe


def harvest(
    path: str | os.PathLike[str], sentences: int, mark: str = "H", source: SourceText | None = None
) -> list[list[Hypothesis]]:
    """Read the hypotheses of each sentence, best first, from the output of fairseq-generate.

    Args:
        path: the output, or the file `generate-SUBSET.txt` of --results-path.
        sentences: number of sentences in the corpus.
        mark: which lines to read: "H" for hypotheses in pieces, "D" for detokenised ones (--tokenizer, --bpe).
        source: the text that the output should be of. It is compared with the lines "S", if there are any.

    Returns:
        A list per sentence, in corpus order; empty if fairseq-generate skipped the sentence.

    Raises:
        UserError: if the output is incomplete or belongs to another corpus.
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
                    f"{path}, line {number}: found sentence {index}, but the corpus has {sentences:,} lines. This "
                    "output belongs to another corpus"
                )
            if not math.isfinite(hypothesis.score):
                raise UserError(
                    f"{path}, line {number}: the score is {hypothesis.score}. The weights of the model that "
                    "translated are broken: train it again, or use an earlier checkpoint"
                )
            hypotheses[index].append(hypothesis)
        elif source is not None and (translated := _SOURCE.match(line)):
            source.add(int(translated[1]), translated[2])
        elif line.startswith("Generate ") or "| Translated " in line:
            finished = True
    if not any(hypotheses):
        raise UserError(f"{path}: found no line that starts with '{mark}-'. Is it the output of fairseq-generate?")
    if not finished:
        raise UserError(f"{path} is incomplete: the last line of fairseq-generate is missing. Run it again")
    if source is not None:
        source.check(Path(path))
    return hypotheses
