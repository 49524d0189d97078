"""Between text and pieces, on both sides of a teacher."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from ..data.sentencepiece_model import load_model
from ..errors import UserError
from ..reading import read_json, read_text

Split = Callable[[Sequence[str]], list[list[str]]]
Join = Callable[[Sequence[str]], str]

SENTENCEPIECE = "▁"
SUBWORD_NMT = "@@"
#: The share of tokens that a teacher may not know; of text in its own pieces it is a few in a hundred at most.
UNKNOWN = 0.2


def splitter(model: Path | None, flag: str = "--sentencepiece-source") -> Split:
    """Lines to pieces: by the SentencePiece model that `flag` named, or at spaces where they are in pieces already."""
    if model is None:
        return lambda lines: [line.split() for line in lines]
    processor = load_model(model, flag)
    return lambda lines: processor.encode(list(lines), out_type=str, num_threads=1)


def joiner(model: Path | None, symbols: Iterable[str], flag: str = "--sentencepiece-target") -> Join:
    """Pieces to text: by the SentencePiece model that `flag` named, or by the marks that the target's `symbols` bear.

    Marks are SentencePiece's (a word begins with `▁`) and subword-nmt's (a piece that goes on ends with `@@`); pieces
    without either are words.
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
    way_out: str = "For raw text give --sentencepiece, the model that its data were encoded with (pieces/spm.model of "
    "lskd encode); text in pieces has to be in the teacher's",
) -> None:
    """Refuse sentences that are in other pieces than a model's, going by the tokens that it does not know.

    Args:
        lines: some of the sentences, in pieces; known: the model's vocabulary; where: the corpus, in words.
        whose: the owner of the vocabulary, in words; way_out: what to do about it.

    Raises:
        UserError: if more than `UNKNOWN` of the tokens are not known.
    """
    tokens = [piece for line in lines for piece in line]
    unknown = sum(piece not in known or piece == "<unk>" for piece in tokens)
    if unknown > UNKNOWN * len(tokens):
        raise UserError(
            f"{where}: {whose} does not know {100 * unknown / len(tokens):.0f} % of the tokens of the first "
            f"sentences. {way_out}"
        )


def model_symbols(folder: Path, kind: str = "target") -> list[str]:
    """The target (or source) vocabulary of a CTranslate2 model folder."""
    for side in (kind, "shared"):
        path = folder / f"{side}_vocabulary.json"
        if path.is_file():
            return read_json(path, [str], "the vocabulary of a CTranslate2 model, a list of texts")
        if path.with_suffix(".txt").is_file():
            return read_text(path.with_suffix(".txt")).split("\n")
    raise UserError(
        f"--model {folder} is no CTranslate2 model folder: found no target_vocabulary.json or shared_vocabulary.json; "
        "CTranslate2's converters write them"
    )
