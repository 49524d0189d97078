"""Split lines into pieces, one chunk at a time, with SentencePiece or with Moses tokenisation and BPE."""

from __future__ import annotations

import functools
import io
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .chunks import Chunk
from .moses import Tokeniser

#: The maximum number of distinct words in the cache of pieces, which bounds its memory.
CACHED_WORDS = 500_000


@dataclass(frozen=True)
class Pieces:
    """A chunk in pieces."""

    text: bytes  #: one sentence per line, pieces joined by spaces
    lines: int
    empty: list[int]  #: numbers of the lines without pieces
    counts: Counter[str]  #: how often each piece occurs


def pack(chunk: Chunk, pieces: Sequence[Sequence[str]]) -> Pieces:
    """Join the pieces of each line of a chunk, and count them."""
    text = "".join([" ".join(line) + "\n" for line in pieces])
    empty = [number for number, line in enumerate(pieces, chunk.first) if not line]
    return Pieces(text.encode("utf-8"), len(pieces), empty, Counter(itertools.chain.from_iterable(pieces)))


@dataclass(frozen=True)
class SentencePieces:
    """Encodes raw text with a SentencePiece model. Unknown characters stay as they are."""

    model: bytes

    def __call__(self, chunk: Chunk) -> Pieces:
        return pack(chunk, _processor(self.model).encode(chunk.lines(), out_type=str, num_threads=1))


@dataclass(frozen=True)
class BytePairs:
    """Encodes tokenised text with BPE codes. Each distinct word is only encoded once."""

    codes: str

    def __call__(self, chunk: Chunk) -> Pieces:
        model = _byte_pairs(self.codes)
        if len(model.cache) > CACHED_WORDS:
            model.cache.clear()
        return pack(chunk, [model.segment_tokens(line.split(" ")) for line in chunk.lines()])


@dataclass(frozen=True)
class Words:
    """Counts the words of a chunk or of its chosen lines, after tokenisation if there is a tokeniser."""

    tokeniser: Tokeniser | None = None

    def __call__(self, job: tuple[Chunk, list[int] | None]) -> Tokens:
        chunk, chosen = job
        lines = chunk.lines()
        text = b""
        if self.tokeniser is not None:
            lines = [self.tokeniser(line) for line in lines]
            text = "".join([f"{line}\n" for line in lines]).encode("utf-8")
        counted = lines if chosen is None else [lines[i] for i in chosen]
        return Tokens(text, len(lines), Counter(itertools.chain.from_iterable(line.split() for line in counted)))


@dataclass(frozen=True)
class Tokens:
    """The words of a chunk."""

    text: bytes  #: tokenised, one sentence per line; empty without a tokeniser
    lines: int
    counts: Counter[str]  #: how often each word occurs in the chosen lines


# Each process builds these once.


@functools.lru_cache(maxsize=2)
def _processor(model: bytes) -> Any:
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_proto=model)


@functools.lru_cache(maxsize=2)
def _byte_pairs(codes: str) -> Any:
    from subword_nmt.apply_bpe import BPE

    return BPE(io.StringIO(codes))
