"""Check fairseq's binarised data before it is used. fairseq itself checks none of the numbers in it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import UserError

MAGIC, VERSION = b"MMIDIDX\x00\x00", 1
#: The first bytes of an index by fairseq-preprocess --dataset-impl lazy or cached.
OLDER = b"TNTIDX\x00\x00"
HEADER = len(MAGIC) + struct.calcsize("<QBQ")
#: fairseq's codes for the types that ids may have.
TYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2", 9: "<u4", 10: "<u8"}
_SLICE = 1 << 22  # ids that are checked at a time
_AGAIN = "Binarise the text again (scripts/prepare.sh, lskd binarise or fairseq-preprocess), or copy the folder again."


class _Index(NamedTuple):
    kind: np.dtype  # of the ids
    sizes: np.ndarray  # [sentences], tokens of each
    starts: np.ndarray  # [sentences], where each begins, in bytes
    first: int = 0  # the id of the dictionary's first symbol


def check_binarised(prefix: Path, symbols: int) -> int:
    """Check `prefix.idx` and `prefix.bin` against a dictionary of `symbols` symbols. Return the number of sentences.

    Every number is checked, and every id must be in the dictionary. The formats are those of fairseq-preprocess
    --dataset-impl mmap (its default), lazy and cached.

    Raises:
        UserError: with the file, the sentence and the problem.
    """
    index, data = (prefix.with_name(f"{prefix.name}.{kind}") for kind in ("idx", "bin"))
    try:
        with index.open("rb") as stream:
            header = stream.read(48)
        index_bytes, data_bytes = index.stat().st_size, data.stat().st_size
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror or error})") from None
    try:
        kind, sizes, starts, first = (_read_older if header.startswith(OLDER) else _read)(index, header, index_bytes)
        if (bad := _first((sizes < 0) | (sizes > data_bytes))) is not None:
            raise ValueError(f"sentence {bad:,} has {sizes[bad]:,} tokens, but {data.name} has {data_bytes:,} bytes")
        ends = np.cumsum(sizes, dtype=np.int64) * kind.itemsize
        if (bad := _first(starts != ends - sizes.astype(np.int64) * kind.itemsize)) is not None:
            raise ValueError(f"sentence {bad:,} does not start where the previous sentence ends")
    except (ValueError, struct.error) as error:
        raise UserError(f"{index}: {error}. {_AGAIN}") from None
    total = int(ends[-1]) if len(ends) else 0
    if data_bytes != total:
        raise UserError(f"{data}: found {data_bytes:,} bytes, {index.name} expects {total:,}: truncated file. {_AGAIN}")
    if total:
        _check_ids(data, kind, ends // kind.itemsize, first, symbols)
    return len(sizes)


def count_sentences(index: Path) -> int | None:
    """Return the number of sentences that the header of an index tells; None if the file is missing or has another."""
    try:
        with index.open("rb") as stream:
            header = stream.read(48)
        if header.startswith(OLDER):
            return struct.unpack("<5Q", header[len(OLDER) :])[3]
        return struct.unpack("<QBQ", header[len(MAGIC) : HEADER])[2] if header.startswith(MAGIC) else None
    except (OSError, struct.error):
        return None


def _read(index: Path, header: bytes, size: int) -> _Index:
    if not header.startswith(MAGIC):
        raise ValueError("it does not start like an index of fairseq-preprocess --dataset-impl mmap, lazy or cached")
    version, code, sentences = struct.unpack("<QBQ", header[len(MAGIC) : HEADER])
    kind = _type(version, code)
    _check_size(size, HEADER + 12 * sentences, sentences)
    if not sentences:
        return _Index(kind, np.empty(0, np.int32), np.empty(0, np.int64))
    sizes = np.memmap(index, "<i4", "r", HEADER, (sentences,))
    return _Index(kind, sizes, np.memmap(index, "<i8", "r", HEADER + 4 * sentences, (sentences,)))


def _read_older(index: Path, header: bytes, size: int) -> _Index:
    version, code, width, sentences, count = struct.unpack("<5Q", header[len(OLDER) :])
    kind = _type(version, code)
    if width != kind.itemsize or count != sentences:
        raise ValueError(f"found ids of {width} bytes and {count:,} sizes, expected {kind.itemsize} and {sentences:,}")
    _check_size(size, len(header) + 8 * (3 * sentences + 2), sentences)
    numbers = np.memmap(index, "<i8", "r", len(header), (3 * sentences + 2,))
    # The offsets of the dimensions: one dimension per sentence.
    if (bad := _first(numbers[: sentences + 1] != np.arange(sentences + 1))) is not None:
        raise ValueError(f"sentence {bad:,} is not a one-dimensional array of ids")
    starts = numbers[sentences + 1 : 2 * sentences + 1] * kind.itemsize
    return _Index(kind, numbers[2 * sentences + 2 :], starts, first=1)  # ids in these formats start at 1


def _type(version: int, code: int) -> np.dtype:
    if version != VERSION or code not in TYPES:
        raise ValueError(f"found version {version}, type {code}; expected version {VERSION} and an integer type")
    return np.dtype(TYPES[code])


def _check_size(found: int, wanted: int, sentences: int) -> None:
    if found != wanted:
        raise ValueError(f"found {found:,} bytes, expected {wanted:,} for {sentences:,} sentences")


def _check_ids(data: Path, kind: np.dtype, ends: np.ndarray, first: int, symbols: int) -> None:
    ids = np.memmap(data, kind, "r")
    for start in range(0, len(ids), _SLICE):
        block = ids[start : start + _SLICE]
        # Only a block with a bad id needs the slower search.
        if block.min() >= first and block.max() < first + symbols:
            continue
        bad = start + int(np.flatnonzero((block < first) | (block >= first + symbols))[0])
        sentence = int(np.searchsorted(ends, bad, side="right"))
        found = int(ids[bad]) - first
        raise UserError(
            f"{data}: sentence {sentence:,} has the id {found}, but the dictionary's ids are 0 to {symbols - 1:,}: the "
            f"file was binarised with another dictionary, or it is damaged. {_AGAIN}"
        )


def _first(flags: np.ndarray) -> int | None:
    return int(flags.argmax()) if flags.any() else None
