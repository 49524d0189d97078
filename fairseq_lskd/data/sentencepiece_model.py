"""The one loader of SentencePiece models. The library is imported only when a model is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor


def load_model(path: Path, flag: str = "--spm-model") -> SentencePieceProcessor:
    """The SentencePiece model of a file that `flag` named; `UserError` if it is none."""
    from sentencepiece import SentencePieceProcessor

    try:
        return SentencePieceProcessor(model_proto=path.read_bytes())
    except OSError as error:
        raise UserError(
            f"{flag} {path}: cannot be read ({error.strerror or error}); expected the .model that SentencePiece wrote"
        ) from error
    except RuntimeError as error:
        raise UserError(f"{flag} {path} is not a SentencePiece model") from error
