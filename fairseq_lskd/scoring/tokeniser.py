"""Which of sacreBLEU's tokenisers BLEU takes: the target language decides, or the user."""

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

#: sacreBLEU's TER can take the characters of these for words.
ASIAN = ("zh", "ja")


class Chosen(NamedTuple):
    """How text is cut for scores, and what there is to say of it."""

    tokenize: str
    language: str  #: of the target, "" if it is not known
    unspaced: bool  #: whether words stand without spaces between them
    warnings: list[str]


def choose(references: Sequence[str], language: str = "", given: str | None = None) -> Chosen:
    """BLEU's tokeniser for a test set.

    Args:
        references: the lines of one of its references.
        language: the target's code; without it the references' script decides.
        given: the tokeniser that was asked for.

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
                f"the references are in the script of {script}: BLEU's tokeniser is {tokenize} (-l S-T says the "
                "language, --tokenize the tokeniser)"
            )
        warnings += [missing] if missing else []
    if tokenize in OF_SPACES and script in UNSPACED:
        warnings.append(
            f"the references are in the script of {script}, which has no spaces, and {tokenize} takes what is between "
            f"spaces for words: BLEU is meaningless. Give --tokenize {bleu_tokeniser(script)} or char, or the target's "
            "language by -l S-T"
        )
    return Chosen(tokenize, known, script in UNSPACED or known in UNSPACED, warnings)
