"""fairseq's dictionary files: one symbol and its count per line, in the order of ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import UserError
from ..reading import read_text, shown

#: The symbols that fairseq puts before those of the file.
FAIRSEQ_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
OVERWRITE = " #fairseq:overwrite"  #: ends a line that gives an earlier symbol a new id
EOS, UNKNOWN = 2, 3  #: their ids
#: Dictionaries, special symbols included, are padded to a multiple of this size, which suits the matrix units of GPUs.
PADDING_FACTOR = 8


class Ids(dict[str, int]):
    """The ids of symbols. Everything else has the id of `<unk>`."""

    def __missing__(self, symbol: str) -> int:
        return UNKNOWN


def write_dictionary(path: Path, pieces: Iterable[str], counts: Mapping[str, int]) -> None:
    """Write fairseq's `dict.LANG.txt`: one piece and its count per line."""
    lines = (f"{piece} {counts.get(piece, 0)}\n" for piece in pieces)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def read_dictionary(path: Path) -> Ids:
    """Return the id that fairseq gives each symbol, special symbols included.

    Raises:
        UserError: if the file cannot be read or is not a dictionary.
    """
    ids = Ids({symbol: i for i, symbol in enumerate(FAIRSEQ_SPECIALS)})
    # Universal newlines, because fairseq opens the file in text mode.
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
    """Return the symbols in fairseq-preprocess's order: most frequent first, ties by code point, then its padding."""
    symbols = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
    missing = -(len(FAIRSEQ_SPECIALS) + len(symbols)) % PADDING_FACTOR
    return symbols + [f"madeupword{i:04d}" for i in range(missing)]
