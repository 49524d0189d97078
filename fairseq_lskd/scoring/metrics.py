"""sacreBLEU's metrics with their signatures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..records.result import COLUMNS
from .tokeniser import ASIAN, Chosen, choose

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

#: Name for `--metrics` -> name in tables.
NAMES = {name: COLUMNS[name].name for name in ("bleu", "chrf", "chrf++", "ter")}


def make_metric(name: str, tokenize: str = "13a", lowercase: bool = False, language: str = "") -> Metric:
    """Create one of sacreBLEU's metrics: bleu, chrf (character F2), chrf++ (with word bigrams) or ter.

    Args:
        tokenize: tokeniser for BLEU; see `tokeniser.choose`.
        lowercase: for BLEU and chrF; TER always ignores case, as tercom does.
        language: target language. TER counts the characters of Chinese and Japanese as words.

    Raises:
        UserError: if the tokeniser cannot be loaded.
    """
    # Reading records must work without sacreBLEU.
    from sacrebleu.metrics import BLEU, CHRF, TER

    if name == "bleu":
        try:
            # force: `Data.check` looks for tokenised text, for all metrics.
            return BLEU(force=True, tokenize=tokenize, lowercase=lowercase)
        except (OSError, RuntimeError, AssertionError, SystemExit) as error:
            raise UserError(
                f"--tokenize {tokenize}: sacreBLEU cannot load this tokeniser ({error}). spm, flores101, flores200 and "
                "spBLEU-1K download a model to ~/.sacrebleu/models; ja-mecab and ko-mecab need the dictionaries of the "
                "extras ja and ko, and no others"
            ) from None
    if name == "ter":
        return TER(normalized=True, asian_support=True) if language in ASIAN else TER()
    return CHRF(word_order={"chrf": 0, "chrf++": 2}[name], lowercase=lowercase)


def of_words(metrics: Sequence[str], chosen: Chosen) -> str | None:
    """Return a warning if metrics count words in text without spaces."""
    wrong = [NAMES[name] for name in metrics if name == "chrf++" or (name == "ter" and chosen.language not in ASIAN)]
    if not wrong or not chosen.unspaced:
        return None
    return f"{' and '.join(wrong)} split words at spaces, and the target language has none: use BLEU and chrF instead"


def signature_key(name: str) -> str:
    """Return the key of a metric's signature in a record."""
    return "signature" if name == "bleu" else f"{name}_signature"


def how_scored(record: Mapping[str, Any], name: str) -> str:
    """Return a metric's signature in a record without the version of sacreBLEU: scores with equal ones compare."""
    return re.sub(r"\|version:[^|]*", "", str(record.get(signature_key(name))))


def score_corpus(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *more_references: Sequence[str],
    metrics: Sequence[str] = ("bleu", "chrf"),
    chosen: Chosen | None = None,
) -> dict[str, Any]:
    """Score detokenised text. Return scores rounded to two decimals, and sacreBLEU's signatures.

    Args:
        chosen: tokeniser for BLEU (default: chosen by the references' script).

    Raises:
        UserError: if the numbers of lines differ, or there is no line.
    """
    for lines in (references, *more_references):
        if len(hypotheses) != len(lines):
            raise UserError(
                f"found {len(hypotheses):,} hypotheses for {len(lines):,} references; expected one hypothesis per "
                "reference"
            )
    if not references:
        raise UserError("expected lines to score, found none")
    result: dict[str, Any] = {}
    chosen = chosen or choose(references)
    made = {name: make_metric(name, chosen.tokenize, language=chosen.language) for name in metrics}
    for name, metric in made.items():
        result[name] = round(metric.corpus_score(hypotheses, [references, *more_references]).score, 2)
    return result | {signature_key(name): str(metric.get_signature()) for name, metric in made.items()}
