"""sacreBLEU's metrics, each with the signature that makes a score comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.metrics.base import Metric

from ..errors import UserError

#: What `--metrics` calls a metric -> how tables call it.
NAMES = {"bleu": "BLEU", "chrf": "chrF", "chrf++": "chrF++", "ter": "TER"}


def make_metric(name: str, target_lang: str = "", tokenize: str | None = None, lowercase: bool = False) -> Metric:
    """One of sacreBLEU's metrics: bleu, chrf (character F2), chrf++ (with word pairs) or ter (lower is better).

    Args:
        target_lang: lets BLEU choose its tokeniser for Chinese, Japanese and Korean.
        tokenize: BLEU's tokeniser, if it is to be another.
        lowercase: of BLEU and chrF; TER does so always, as tercom does.
    """
    if name == "bleu":
        # We look for text that is tokenised ourselves (checks.py), in every metric's input.
        return BLEU(force=True, tokenize=tokenize, trg_lang=target_lang, lowercase=lowercase)
    if name == "ter":
        return TER()
    return CHRF(word_order={"chrf": 0, "chrf++": 2}[name], lowercase=lowercase)


def signature_key(name: str) -> str:
    """The field of a result record that holds a metric's signature."""
    return "signature" if name == "bleu" else f"{name}_signature"


def score_corpus(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *more_references: Sequence[str],
    metrics: Sequence[str] = ("bleu", "chrf"),
) -> dict[str, Any]:
    """Scores of detokenised text to two digits, each with its sacreBLEU signature.

    Raises:
        UserError: if the numbers of lines differ, or there are none.
    """
    for lines in (references, *more_references):
        if len(hypotheses) != len(lines):
            raise UserError(
                f"{len(hypotheses):,} hypotheses for {len(lines):,} references: they must match line by line"
            )
    if not references:
        raise UserError("there is no line to score")
    result: dict[str, Any] = {}
    made = {name: make_metric(name) for name in metrics}
    for name, metric in made.items():
        result[name] = round(metric.corpus_score(hypotheses, [references, *more_references]).score, 2)
    return result | {signature_key(name): str(metric.get_signature()) for name, metric in made.items()}
