"""The classical recipe: Moses' tokenisation with sacremoses, and BPE (Sennrich et al., 2016) with subword-nmt."""

from __future__ import annotations

import contextlib
import functools
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UserError
from ..extras import require

CODES = "bpe.codes"


def require_moses() -> None:
    """Raise a `UserError` that says how to install the packages of this recipe, if they are missing."""
    require("--recipe moses-bpe", "sacremoses", "subword_nmt")


@dataclass(frozen=True)
class Tokeniser:
    """Normalises punctuation and tokenises a line of a language, as Moses' scripts do."""

    language: str
    split_hyphens: bool = False  #: `a-b` becomes `a @-@ b`: Moses' aggressive hyphen splitting

    def __call__(self, line: str) -> str:
        normaliser, tokeniser, _ = _moses(self.language)
        line = normaliser.normalize(line)
        # fairseq would take no-break spaces and the like, which a token may contain, for white space.
        return " ".join(tokeniser.tokenize(line, aggressive_dash_splits=self.split_hyphens, return_str=True).split())


def detokenise(line: str, language: str) -> str:
    """Join a line of tokens into text. This undoes the splits and the escapes of `Tokeniser`."""
    return _moses(language)[2].detokenize(line.split())


def learn_codes(words: Mapping[str, int], merges: int) -> str:
    """Learn BPE codes from words and their counts. Return them in subword-nmt's file format.

    Raises:
        UserError: if no pair of characters occurs twice.
    """
    from subword_nmt.learn_bpe import learn_bpe

    rows = sorted(words.items(), key=lambda row: (-row[1], row[0]))
    codes, said = io.StringIO(), io.StringIO()
    # Hides the progress bar unless in a terminal. The only other message is that there are fewer pairs than merges.
    with contextlib.redirect_stderr(said) if not sys.stderr.isatty() else contextlib.nullcontext():
        try:
            learn_bpe((f"{word} {count}" for word, count in rows), codes, merges, is_dict=True)
        except ValueError as error:  # max() of no pairs
            raise UserError(
                f"cannot learn BPE codes: all words of the corpus have a single character ({error}); use another text"
            ) from error
    return codes.getvalue()


@functools.lru_cache(maxsize=4)
def _moses(language: str) -> tuple[Any, Any, Any]:
    from sacremoses import MosesDetokenizer, MosesPunctNormalizer, MosesTokenizer

    return MosesPunctNormalizer(language), MosesTokenizer(language), MosesDetokenizer(language)
