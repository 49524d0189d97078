"""Read the output of fairseq-validate, and compare a model with the known truth of a generated bitext."""

from __future__ import annotations

import math
from pathlib import Path

from ..errors import UserError
from ..lines import read_lines
from ..reading import NUMBER, parse_json, read_json


def read_validation(path: Path) -> dict[str, float]:
    """Read the statistics from the last line of `fairseq-validate --log-format json`.

    Raises:
        UserError: if there are none.
    """
    for line in reversed(list(read_lines(path))):
        if '"valid_nll_loss"' in line or '"nll_loss"' in line:
            try:
                stats = parse_json(line[line.index("{") :])
                return {key.removeprefix("valid_"): float(value) for key, value in stats.items() if value is not None}
            except (ValueError, TypeError):
                raise UserError(f"{path}: expected statistics in JSON, found {line[:60]!r}") from None
    raise UserError(f"{path}: found no line with nll_loss; expected the output of fairseq-validate --log-format json")


def divergence_from_truth(nll_bits: float, pieces: Path, truth: Path) -> float:
    """Estimate KL(truth || model) on the validation set of a generated bitext, in nats per sentence.

    The estimate is an upper bound: the model's probability of a translation is that of one segmentation only.

    Args:
        nll_bits: negative log-likelihood of the model in bits per token.
        pieces: target side of the validation set in pieces.
        truth: truth.json of `lskd generate`.

    Raises:
        UserError: if a file is invalid.
    """
    lengths = [len(line.split()) + 1 for line in read_lines(pieces)]  # with the end of sentence
    if not lengths:
        raise UserError(f"--pieces {pieces} is empty")
    shape = {"valid": {"log_prob_per_sentence": NUMBER}}
    known = read_json(truth, shape, "the truth.json that `lskd generate` writes")["valid"]["log_prob_per_sentence"]
    return nll_bits * math.log(2) * sum(lengths) / len(lengths) + known
