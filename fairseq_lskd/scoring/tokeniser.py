"""Choose BLEU's tokeniser by the target language or the user's option."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..data.writing_systems import (
    OF_SPACES,
    UNSPACED,
    available_tokeniser,
    base_language,
    bleu_tokeniser,
    check_tokeniser,
    language_of_script,
)

#: Languages in which sacreBLEU's TER can count characters as words.
ASIAN = ("zh", "ja")


class Chosen(NamedTuple):
    """The tokeniser for BLEU, and warnings about it."""

    tokenize: str
    language: str  #: target language; "" if it is not known
    unspaced: bool  #: whether the language is written without spaces between words
    warnings: list[str]


def choose(references: Sequence[str], language: str = "", given: str | None = None) -> Chosen:
    """Choose BLEU's tokeniser for a test set.

    Args:
        references: lines of one of the references.
        language: code of the target language (default: guessed from the script of the references).
        given: the user's choice.

    Raises:
        UserError: if sacreBLEU has no such tokeniser, or its packages are not installed.
    """
    if given is not None:
        check_tokeniser(given)
    script = language_of_script(references)
    known = base_language(language) or script or ""
    warnings: list[str] = []
    tokenize = given
    if tokenize is None:
        tokenize, missing = available_tokeniser(known)
        if not language and script:
            warnings.append(
                f"the references are in the script of {script}, so BLEU uses the tokeniser {tokenize}. Set the "
                "language with -l S-T, or the tokeniser with --tokenize"
            )
        warnings += [missing] if missing else []
    if tokenize in OF_SPACES and script in UNSPACED:
        warnings.append(
            f"BLEU is meaningless: the references are in the script of {script}, which has no spaces, and {tokenize} "
            f"splits words at spaces. Give --tokenize {bleu_tokeniser(script)} or char, or the target language with "
            "-l S-T"
        )
    return Chosen(tokenize, known, script in UNSPACED or known in UNSPACED, warnings)
