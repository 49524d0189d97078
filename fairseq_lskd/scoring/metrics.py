"""sacreBLEU, with the signature that makes a score comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics import BLEU, CHRF

from ..errors import UserError


def score_corpus(hypotheses: Sequence[str], references: Sequence[str], force: bool = False) -> dict[str, Any]:
    """BLEU and chrF (0 to 100) of detokenised text, each with its sacreBLEU signature.

    Args:
        force: no warning where text looks tokenised: it is known to be as it should be.

    Raises:
        UserError: if the numbers of lines differ, or there are none.
    """
    if len(hypotheses) != len(references):
        raise UserError(
            f"{len(hypotheses):,} hypotheses for {len(references):,} references: they must match line by line"
        )
    if not references:
        raise UserError("there is no line to score")
    bleu, chrf = BLEU(force=force), CHRF()
    return {
        "bleu": round(bleu.corpus_score(hypotheses, [references]).score, 2),
        "chrf": round(chrf.corpus_score(hypotheses, [references]).score, 2),
        "signature": str(bleu.get_signature()),
        "chrf_signature": str(chrf.get_signature()),
    }
