"""Convert text to pieces and pieces to text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from ..data.sentencepiece_model import load_model
from ..errors import UserError

Split = Callable[[Sequence[str]], list[list[str]]]
Join = Callable[[Sequence[str]], str]

SENTENCEPIECE = "▁"
SUBWORD_NMT = "@@"
#: Maximum share of unknown tokens. In text in the right pieces it is a few per cent.
UNKNOWN = 0.2


def splitter(model: Path | None, flag: str = "--sentencepiece-source") -> Split:
    """Return a function that splits lines into pieces.

    Without a SentencePiece `model`, lines must be in pieces and are split at white space. `flag` names the model in
    errors.
    """
    if model is None:
        return lambda lines: [line.split() for line in lines]
    processor = load_model(model, flag)
    return lambda lines: processor.encode(list(lines), out_type=str, num_threads=1)


def joiner(model: Path | None, symbols: Iterable[str], flag: str = "--sentencepiece-target") -> Join:
    """Return a function that joins the pieces of a sentence into text.

    Without a SentencePiece `model`, the `symbols` of the vocabulary decide: pieces are those of SentencePiece if one
    begins with `▁`, those of subword-nmt if one ends with `@@`, and otherwise words. `flag` names the model in errors.
    """
    if model is not None:
        return load_model(model, flag).decode_pieces
    symbols = list(symbols)
    if any(symbol.startswith(SENTENCEPIECE) for symbol in symbols):
        return lambda pieces: "".join(pieces).replace(SENTENCEPIECE, " ").strip()
    if any(symbol.endswith(SUBWORD_NMT) for symbol in symbols):
        return lambda pieces: f"{' '.join(pieces)} ".replace(f"{SUBWORD_NMT} ", "").rstrip()
    return " ".join


def check_pieces(
    lines: Iterable[Sequence[str]],
    known: Collection[str],
    where: str,
    whose: str = "the teacher",
    way_out: str = "For raw text, give --sentencepiece with the SentencePiece model of the teacher's data "
    "(pieces/spm.model of lskd encode). Text in pieces must be in the teacher's pieces",
) -> float:
    """Check by the share of unknown tokens that sentences are in a model's pieces. Return the share.

    Args:
        lines: some of the sentences, in pieces.
        known: the vocabulary of the model.
        where: the corpus, for the message.
        whose: the owner of the vocabulary, for the message.
        way_out: what to do, for the message.

    Raises:
        UserError: if the share of unknown tokens is above `UNKNOWN`.
    """
    tokens = [piece for line in lines for piece in line]
    unknown = sum(piece not in known or piece == "<unk>" for piece in tokens)
    if unknown > UNKNOWN * len(tokens):
        raise UserError(
            f"{where}: {whose} lacks {100 * unknown / len(tokens):.0f} % of the tokens of the first sentences, "
            f"expected at most {100 * UNKNOWN:.0f} %. {way_out}"
        )
    return unknown / max(len(tokens), 1)
