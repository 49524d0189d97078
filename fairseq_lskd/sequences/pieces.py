"""From pieces back to text."""

from __future__ import annotations

import re

from .segmentation import SENTENCEPIECE, SUBWORD_NMT

#: Names as --remove-bpe of fairseq-generate has them.
SCHEMES = ("sentencepiece", "subword_nmt")


#: How a word that a teacher could not write looks: fairseq's <unk> and <<unk>>, escaped or spaced out, BERT's, and
#: SentencePiece's.
_UNKNOWN = re.compile(r"(?:<|&lt;) ?unk ?(?:>|&gt;)|\[unk\]|\u2047", re.IGNORECASE)


def has_unknown(text: str) -> bool:
    """Whether text or pieces hold an unknown word, `<unk>` or what looks like it."""
    return _UNKNOWN.search(text) is not None


def to_text(line: str, scheme: str = "sentencepiece") -> str:
    """The text of a line of pieces; a line that is text stays as it is."""
    if scheme == "subword_nmt":
        return f"{line} ".replace(f"{SUBWORD_NMT} ", "").rstrip()
    # SentencePiece lets no text keep its mark, so that a line without it is text.
    return line.replace(" ", "").replace(SENTENCEPIECE, " ").strip() if SENTENCEPIECE in line else line
