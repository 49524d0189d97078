"""What fairseq-validate found, and how far that is from a truth that is known."""

from __future__ import annotations

import math
from pathlib import Path

from ..errors import UserError
from ..lines import read_lines
from ..reading import NUMBER, parse_json, read_json


def read_validation(path: Path) -> dict[str, float]:
    """The statistics in the closing line of `fairseq-validate --log-format json`.

    Raises:
        UserError: if there is no such line.
    """
    for line in reversed(list(read_lines(path))):
        if '"valid_nll_loss"' in line or '"nll_loss"' in line:
            try:
                stats = parse_json(line[line.index("{") :])
                return {key.removeprefix("valid_"): float(value) for key, value in stats.items() if value is not None}
            except (ValueError, TypeError):
                raise UserError(f"{path}: expected statistics in JSON, found {line[:60]!r}") from None
    raise UserError(f"{path}: expected what fairseq-validate --log-format json prints, found no line with nll_loss")


def divergence_from_truth(nll_bits: float, pieces: Path, truth: Path) -> float:
    """KL(truth || model), estimated on the validation sentences of a generated bitext, in nats a sentence.

    Args:
        nll_bits: the model's negative log-likelihood, in bits a token.
        pieces: the validation target in pieces, to count its tokens.
        truth: the truth.json that `lskd generate` wrote.

    An upper bound: the model's probability of a translation is that of one way to cut it into pieces.

    Raises:
        UserError: if a file is not what it should be.
    """
    lengths = [len(line.split()) + 1 for line in read_lines(pieces)]  # with the end of the sentence
    if not lengths:
        raise UserError(f"--pieces {pieces} is empty")
    shape = {"valid": {"log_prob_per_sentence": NUMBER}}
    known = read_json(truth, shape, "the truth.json that `lskd generate` writes")["valid"]["log_prob_per_sentence"]
    return nll_bits * math.log(2) * sum(lengths) / len(lengths) + known
