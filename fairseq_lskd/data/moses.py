"""The classical recipe: Moses' tokenisation through sacremoses, and BPE (Sennrich et al., 2016) through subword-nmt."""

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
    """Raise a `UserError` that says how to get what this recipe needs, where it is missing."""
    require("--recipe moses-bpe", "sacremoses", "subword_nmt")


@dataclass(frozen=True)
class Tokeniser:
    """Normalises punctuation and tokenises a line of a language, as Moses' scripts do."""

    language: str
    split_hyphens: bool = False  #: `a-b` becomes `a @-@ b`: Moses' aggressive hyphen splitting

    def __call__(self, line: str) -> str:
        normaliser, tokeniser, _ = _moses(self.language)
        line = normaliser.normalize(line)
        # Its characters for "no break here" and the like would be white space to fairseq.
        return " ".join(tokeniser.tokenize(line, aggressive_dash_splits=self.split_hyphens, return_str=True).split())


def detokenise(line: str, language: str) -> str:
    """A line of tokens as text: what `Tokeniser` split is joined, what it escaped is itself again."""
    return _moses(language)[2].detokenize(line.split())


def learn_codes(words: Mapping[str, int], merges: int) -> str:
    """BPE codes of words and their counts, as subword-nmt's file has them.

    Raises:
        UserError: if no pair of characters occurs twice.
    """
    from subword_nmt.learn_bpe import learn_bpe

    rows = sorted(words.items(), key=lambda row: (-row[1], row[0]))
    codes, said = io.StringIO(), io.StringIO()
    # Its progress bar is for terminals; what else it says is that there are fewer pairs than it was asked for.
    with contextlib.redirect_stderr(said) if not sys.stderr.isatty() else contextlib.nullcontext():
        try:
            learn_bpe((f"{word} {count}" for word, count in rows), codes, merges, is_dict=True)
        except ValueError as error:  # the most frequent pair of none
            raise UserError(
                f"no BPE codes can be learnt: the corpus has words of one character only ({error})"
            ) from error
    return codes.getvalue()


@functools.lru_cache(maxsize=4)
def _moses(language: str) -> tuple[Any, Any, Any]:
    from sacremoses import MosesDetokenizer, MosesPunctNormalizer, MosesTokenizer

    return MosesPunctNormalizer(language), MosesTokenizer(language), MosesDetokenizer(language)
