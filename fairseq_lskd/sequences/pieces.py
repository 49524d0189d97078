"""From pieces back to text."""

from __future__ import annotations

from .segmentation import SENTENCEPIECE, SUBWORD_NMT

#: Names as --remove-bpe of fairseq-generate has them.
SCHEMES = ("sentencepiece", "subword_nmt")


def to_text(line: str, scheme: str = "sentencepiece") -> str:
    """The text of a line of pieces; a line that is text stays as it is."""
    if scheme == "subword_nmt":
        return f"{line} ".replace(f"{SUBWORD_NMT} ", "").rstrip()
    # SentencePiece lets no text keep its mark, so that a line without it is text.
    return line.replace(" ", "").replace(SENTENCEPIECE, " ").strip() if SENTENCEPIECE in line else line
