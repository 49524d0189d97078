"""The one loader of SentencePiece models. The library is imported only when a model is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..reading import shown

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor


def load_model(path: Path, flag: str = "--spm-model") -> SentencePieceProcessor:
    """The SentencePiece model of a file that `flag` named; `UserError` if it is none, or its pieces are no text."""
    from sentencepiece import SentencePieceProcessor

    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{flag} {path}: cannot be read ({error.strerror or error}); expected the .model that SentencePiece wrote"
        ) from error
    problem = ""
    try:
        if not content:
            problem = " (it is empty)"  # which SentencePiece takes for no model given
            raise RuntimeError
        model = SentencePieceProcessor(model_proto=content)
        pieces = [model.id_to_piece(i) for i in range(model.get_piece_size())]
        model.decode_pieces(model.encode("a", out_type=str))
    except UnicodeDecodeError as error:
        raise UserError(f"{flag} {path}: damaged: it has a piece that is not UTF-8 ({error.object!r})") from error
    except RuntimeError as error:
        raise UserError(f"{flag} {path} is not a SentencePiece model{problem}") from error
    if broken := [piece for piece in pieces if "\n" in piece]:
        raise UserError(
            f"{flag} {path}: damaged: it has the piece {shown(broken[0])}, and a text has a line a sentence"
        )
    return model
