"""Checking fairseq's memory-mapped data before it is read: fairseq trusts every number in it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from ..errors import UserError

MAGIC, VERSION = b"MMIDIDX\x00\x00", 1
HEADER = len(MAGIC) + struct.calcsize("<QBQ")
#: fairseq's codes for the types that ids may have.
TYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2", 9: "<u4", 10: "<u8"}
_SLICE = 1 << 22  # ids that are looked at at once


def check_binarised(prefix: Path, symbols: int) -> int:
    """Check `prefix.idx` and `prefix.bin`, of a text in `symbols` symbols; the number of sentences.

    Every number in them is checked; of ids that they are in the dictionary. Only fairseq-preprocess's usual format,
    `mmap`, is known here.

    Raises:
        UserError: naming the file, the place, and what is wrong.
    """
    index, data = (prefix.with_name(f"{prefix.name}.{kind}") for kind in ("idx", "bin"))
    try:
        with index.open("rb") as stream:
            header = stream.read(HEADER)
        index_bytes, data_bytes = index.stat().st_size, data.stat().st_size
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror or error})") from None
    if not header.startswith(MAGIC) or len(header) < HEADER:
        raise UserError(
            f"{index} is no index that fairseq-preprocess writes, of --dataset-impl mmap (its default): it does not begin "
            f"as one. {_AGAIN}"
        )
    version, code, sentences = struct.unpack("<QBQ", header[len(MAGIC) :])
    if version != VERSION or code not in TYPES:
        raise UserError(
            f"{index}: version {version}, type {code}: expected version {VERSION} and whole numbers. {_AGAIN}"
        )
    if index_bytes != (wanted := HEADER + 12 * sentences):
        raise UserError(f"{index}: {index_bytes:,} bytes, expected {wanted:,} of {sentences:,} sentences. {_AGAIN}")
    if not sentences:
        return 0
    kind = np.dtype(TYPES[code])
    sizes = np.memmap(index, "<i4", "r", HEADER, (sentences,))
    offsets = np.memmap(index, "<i8", "r", HEADER + 4 * sentences, (sentences,))
    if (bad := _first(sizes < 0)) is not None:
        raise UserError(f"{index}: sentence {bad:,} has {sizes[bad]} tokens. {_AGAIN}")
    ends = np.cumsum(sizes, dtype=np.int64) * kind.itemsize
    if (bad := _first(offsets != ends - sizes.astype(np.int64) * kind.itemsize)) is not None:
        raise UserError(f"{index}: sentence {bad:,} does not begin where the one before it ends. {_AGAIN}")
    if data_bytes != ends[-1]:
        raise UserError(f"{data}: {data_bytes:,} bytes, {index.name} says {ends[-1]:,}: one of them was cut. {_AGAIN}")
    if data_bytes:
        _check_ids(data, kind, ends // kind.itemsize, symbols)
    return sentences


def _check_ids(data: Path, kind: np.dtype, ends: np.ndarray, symbols: int) -> None:
    ids = np.memmap(data, kind, "r")
    for start in range(0, len(ids), _SLICE):
        block = ids[start : start + _SLICE]
        # One pass where all is well.
        if block.max() < symbols and (kind.kind == "u" or block.min() >= 0):
            continue
        bad = start + int(np.flatnonzero((block < 0) | (block >= symbols))[0])
        sentence = int(np.searchsorted(ends, bad, side="right"))
        raise UserError(
            f"{data}: sentence {sentence:,} has the id {ids[bad]}, and the dictionary's {symbols:,} symbols are 0 to "
            f"{symbols - 1:,}: it was made with another dictionary, or damaged. {_AGAIN}"
        )


_AGAIN = "Binarise the text again (scripts/prepare.sh, lskd binarise or fairseq-preprocess), or copy the folder again."


def _first(flags: np.ndarray) -> int | None:
    return int(flags.argmax()) if flags.any() else None
