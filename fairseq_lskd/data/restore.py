"""Restore the text before `lskd encode` from translations, where joining the pieces is not enough."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

from ..errors import UserError
from .moses import detokenise, require_moses
from .vocabulary import MANIFEST, read_encoded

#: The byte pieces of characters without a piece of their own (--byte-fallback).
BYTES = re.compile(r"(?:<0x[0-9A-F]{2}>)+")


def restorer(pieces: Path) -> Callable[[str], str]:
    """Return a function that restores the text of a line in the target language whose pieces were joined.

    It detokenises Moses tokens, and turns byte pieces into characters (U+FFFD for invalid bytes). Raise `UserError` if
    `pieces` is not a folder that `lskd encode` wrote.
    """
    if not (pieces / MANIFEST).exists():
        raise UserError(f"--pieces {pieces}: found no {MANIFEST} there; expected a folder that `lskd encode` wrote")
    options = read_encoded(pieces)["options"]
    language = options["target-lang"]
    if options.get("recipe") == "moses-bpe":
        require_moses()
        return functools.partial(detokenise, language=language)
    return join_bytes if options.get("byte-fallback") else str


def join_bytes(line: str) -> str:
    """Replace the byte pieces in a line by the characters that they encode."""
    return BYTES.sub(
        lambda run: bytes.fromhex(run[0].replace("<0x", "").replace(">", "")).decode(errors="replace"), line
    )
