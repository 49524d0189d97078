"""Lines to pieces, a chunk at a time, by SentencePiece or as the older recipe does: Moses and BPE."""

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

#: Distinct words whose pieces are kept: what they take is bounded, whatever the text.
CACHED_WORDS = 500_000


@dataclass(frozen=True)
class Pieces:
    """A chunk in pieces."""

    text: bytes  #: a line a sentence, pieces joined by spaces
    lines: int
    empty: list[int]  #: numbers of the lines that have no piece
    counts: Counter[str]  #: of each piece


def pack(chunk: Chunk, pieces: Sequence[Sequence[str]]) -> Pieces:
    """What became of a chunk."""
    text = "".join([" ".join(line) + "\n" for line in pieces])
    empty = [number for number, line in enumerate(pieces, chunk.first) if not line]
    return Pieces(text.encode("utf-8"), len(pieces), empty, Counter(itertools.chain.from_iterable(pieces)))


@dataclass(frozen=True)
class SentencePieces:
    """Encodes raw text with a SentencePiece model; a character that it does not know stays what it is."""

    model: bytes

    def __call__(self, chunk: Chunk) -> Pieces:
        return pack(chunk, _processor(self.model).encode(chunk.lines(), out_type=str, num_threads=1))


@dataclass(frozen=True)
class BytePairs:
    """Encodes tokenised text with BPE codes, each distinct word once."""

    codes: str

    def __call__(self, chunk: Chunk) -> Pieces:
        model = _byte_pairs(self.codes)
        if len(model.cache) > CACHED_WORDS:
            model.cache.clear()
        return pack(chunk, [model.segment_tokens(line.split(" ")) for line in chunk.lines()])


@dataclass(frozen=True)
class Words:
    """Counts words: of all of a chunk, or of chosen lines; of raw text, or of what a tokeniser makes of it."""

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
    """A chunk's words."""

    text: bytes  #: tokenised, a line a sentence; nothing if it was left as it is
    lines: int
    counts: Counter[str]  #: of the words of the chosen lines


# Built once in every process.


@functools.lru_cache(maxsize=2)
def _processor(model: bytes) -> Any:
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_proto=model)


@functools.lru_cache(maxsize=2)
def _byte_pairs(codes: str) -> Any:
    from subword_nmt.apply_bpe import BPE

    return BPE(io.StringIO(codes))
