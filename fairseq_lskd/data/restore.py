"""Translations back to text as it was before `lskd encode`, where joining pieces alone does not give that."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

from ..errors import UserError
from ..names import PLAIN
from ..reading import read_json
from .moses import detokenise, require_moses
from .vocabulary import MANIFEST

#: Pieces of a character that has none of its own: --byte-fallback.
BYTES = re.compile(r"(?:<0x[0-9A-F]{2}>)+")


def restorer(pieces: Path) -> Callable[[str], str]:
    """What makes text of a line in the target language whose pieces were joined.

    Tokens of Moses are detokenised; bytes become characters, U+FFFD where they are none. Raises `UserError` if
    `pieces` is no folder of `lskd encode`.
    """
    if not (pieces / MANIFEST).exists():
        raise UserError(f"--pieces {pieces}: found no {MANIFEST} there; expected a folder that `lskd encode` wrote")
    shape = {"options": {"target-lang": PLAIN}}
    options = read_json(pieces / MANIFEST, shape, "what `lskd encode` wrote", "Encode it again")["options"]
    language = options["target-lang"]
    if options.get("recipe") == "moses-bpe":
        require_moses()
        return functools.partial(detokenise, language=language)
    return join_bytes if options.get("byte-fallback") else str


def join_bytes(line: str) -> str:
    """The line with its pieces of bytes as the characters that they are."""
    return BYTES.sub(
        lambda run: bytes.fromhex(run[0].replace("<0x", "").replace(">", "")).decode(errors="replace"), line
    )
