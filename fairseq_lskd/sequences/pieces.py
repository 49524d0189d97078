"""Convert pieces back to text."""

from __future__ import annotations

from ..data.tokenised import UNKNOWN
from .segmentation import SENTENCEPIECE, SUBWORD_NMT

#: Segmentation schemes, named as in --remove-bpe of fairseq-generate.
SCHEMES = ("sentencepiece", "subword_nmt")


def has_unknown(text: str) -> bool:
    """Return whether text or pieces contain an unknown word: `<unk>` or one of its variants."""
    return UNKNOWN.search(text) is not None


def to_text(line: str, scheme: str = "sentencepiece") -> str:
    """Return the text of a line of pieces. A line that is text already is returned unchanged."""
    if scheme == "subword_nmt":
        return f"{line} ".replace(f"{SUBWORD_NMT} ", "").rstrip()
    # The first piece of every line has SentencePiece's mark, so a line without the mark is text.
    return line.replace(" ", "").replace(SENTENCEPIECE, " ").strip() if SENTENCEPIECE in line else line
