"""Load SentencePiece models. The library is only imported when a model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..reading import shown

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor


def load_model(path: Path, flag: str = "--spm-model") -> SentencePieceProcessor:
    """Load the SentencePiece model that `flag` names. Raise `UserError` if it is none, or its pieces are no text."""
    from sentencepiece import SentencePieceProcessor

    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{flag} {path}: cannot be read ({error.strerror or error}); expected a .model file of SentencePiece"
        ) from error
    problem = ""
    try:
        if not content:
            problem = " (it is empty)"  # SentencePiece would treat this as no argument
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
            f"{flag} {path}: damaged: the piece {shown(broken[0])} has a line break, which would break a sentence"
        )
    return model
