"""fairseq's dictionary files: a symbol and its count a line, in the order of their ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import UserError
from ..reading import read_text, shown

#: fairseq's dictionary puts these before the symbols of its file.
FAIRSEQ_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
OVERWRITE = " #fairseq:overwrite"  #: ends a line whose symbol was there before: from then on it has the new id
EOS, UNKNOWN = 2, 3  #: their ids
#: The number of symbols, specials included, becomes a multiple of this, which GPUs' matrix units like.
PADDING_FACTOR = 8


class Ids(dict[str, int]):
    """Ids of symbols; what is no symbol has that of `<unk>`."""

    def __missing__(self, symbol: str) -> int:
        return UNKNOWN


def write_dictionary(path: Path, pieces: Iterable[str], counts: Mapping[str, int]) -> None:
    """Write fairseq's `dict.LANG.txt`: a piece and its count a line."""
    lines = (f"{piece} {counts.get(piece, 0)}\n" for piece in pieces)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def read_dictionary(path: Path) -> Ids:
    """Each symbol's id, as fairseq gives it, specials included.

    Raises:
        UserError: if the file is not there or not such a dictionary.
    """
    ids = Ids({symbol: i for i, symbol in enumerate(FAIRSEQ_SPECIALS)})
    # Line ends as Python's text files have them, and so fairseq.
    rows = read_text(path).replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    for number, row in enumerate(rows, start=1):
        entry = row.removesuffix(OVERWRITE)
        symbol, space, count = entry.rpartition(" ")
        again = symbol in ids and entry == row
        if not (space and count.isdecimal() and len(count) < 20) or again:
            found = f"{shown(symbol)} a second time" if again else shown(row)
            raise UserError(f"{path}: line {number:,}: expected a new symbol and its count, found {found}")
        ids[symbol] = len(FAIRSEQ_SPECIALS) + number - 1
    return ids


def by_frequency(counts: Mapping[str, int]) -> list[str]:
    """The symbols in fairseq-preprocess's usual order: most frequent first, then by code point, then its padding."""
    symbols = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
    missing = -(len(FAIRSEQ_SPECIALS) + len(symbols)) % PADDING_FACTOR
    return symbols + [f"madeupword{i:04d}" for i in range(missing)]
