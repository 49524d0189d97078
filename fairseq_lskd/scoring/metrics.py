"""sacreBLEU's metrics, each with the signature that makes a score comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..records.result import COLUMNS
from .tokeniser import ASIAN, Chosen, choose

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

#: What `--metrics` calls a metric -> how tables call it.
NAMES = {name: COLUMNS[name].name for name in ("bleu", "chrf", "chrf++", "ter")}


def make_metric(name: str, tokenize: str = "13a", lowercase: bool = False, language: str = "") -> Metric:
    """One of sacreBLEU's metrics: bleu, chrf (character F2), chrf++ (with word pairs) or ter (lower is better).

    Args:
        tokenize: BLEU's tokeniser; see `tokeniser.choose`.
        lowercase: of BLEU and chrF; TER does so always, as tercom does.
        language: the target's; TER takes the characters of Chinese and Japanese for words.

    Raises:
        UserError: if the tokeniser's model cannot be fetched.
    """
    # What only reads records is of use where sacreBLEU is not installed.
    from sacrebleu.metrics import BLEU, CHRF, TER

    if name == "bleu":
        try:
            # We look for text that is tokenised ourselves (data.tokenised), in every metric's input.
            return BLEU(force=True, tokenize=tokenize, lowercase=lowercase)
        except (OSError, RuntimeError, AssertionError, SystemExit) as error:
            raise UserError(
                f"--tokenize {tokenize}: sacreBLEU cannot make it ({error}). spm, flores101, flores200 and spBLEU-1K "
                "fetch a model into ~/.sacrebleu/models; ja-mecab and ko-mecab want the dictionaries of the extras "
                "ja and ko, and no others"
            ) from None
    if name == "ter":
        return TER(normalized=True, asian_support=True) if language in ASIAN else TER()
    return CHRF(word_order={"chrf": 0, "chrf++": 2}[name], lowercase=lowercase)


def of_words(metrics: Sequence[str], chosen: Chosen) -> str | None:
    """A warning where metrics count words in text that has no spaces."""
    wrong = [NAMES[name] for name in metrics if name == "chrf++" or (name == "ter" and chosen.language not in ASIAN)]
    if not wrong or not chosen.unspaced:
        return None
    return (
        f"{' and '.join(wrong)} count what stands between spaces as words, and the target has none: trust BLEU and chrF"
    )


def signature_key(name: str) -> str:
    """The field of a result record that holds a metric's signature."""
    return "signature" if name == "bleu" else f"{name}_signature"


def score_corpus(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *more_references: Sequence[str],
    metrics: Sequence[str] = ("bleu", "chrf"),
    chosen: Chosen | None = None,
) -> dict[str, Any]:
    """Scores of detokenised text to two digits, each with its sacreBLEU signature.

    Args:
        chosen: BLEU's tokeniser; None is that of the references' script.

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
    chosen = chosen or choose(references)
    made = {name: make_metric(name, chosen.tokenize, language=chosen.language) for name in metrics}
    for name, metric in made.items():
        result[name] = round(metric.corpus_score(hypotheses, [references, *more_references]).score, 2)
    return result | {signature_key(name): str(metric.get_signature()) for name, metric in made.items()}
