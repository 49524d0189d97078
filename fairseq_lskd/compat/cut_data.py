"""A clear message for binarised data that are cut short, as after a full disk or an interrupted copy.

fairseq's commands end in a traceback ("buffer is smaller than requested size") when the first missing sentence is
needed, often long after they started. Where data of ``--dataset-impl lazy`` or ``cached`` are missing, fairseq reads
random ids. This patch compares the sizes of the two files with what the index says when a data set is opened. It
reads a few bytes, whatever the size of the data.
"""

from __future__ import annotations

import functools
import os
import struct
import sys
from pathlib import Path
from typing import Any

from .evaluated_options import is_command

NAME = "cut-data"
NEEDED_BY = "binarised data that are cut short end in a traceback during the training, or are read as random ids"
MODULE = "fairseq.data.indexed_dataset"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"

#: The first bytes of an index of --dataset-impl mmap, and of lazy and cached.
MMAP, OLDER = b"MMIDIDX\x00\x00", b"TNTIDX\x00\x00"
#: Bytes of an id, by fairseq's code for its type.
WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8}


def expected_sizes(index: Path) -> tuple[int, int] | None:
    """Return the bytes that an index should have, and those of its data, 0 if the index is cut short.

    None for other formats, which have no index of this form or ids of another type.
    """
    with index.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        head = stream.read(48)
        try:
            if head.startswith(OLDER):
                _, _, width, sentences, arrays = struct.unpack_from("<5Q", head, len(OLDER))
                wanted, place = 48 + 8 * (2 * (sentences + 1) + arrays), 48 + 8 * (2 * sentences + 1)
                return wanted, width * _number(stream, place, "<q") if size >= wanted else 0
            if head.startswith(MMAP):
                _, code, sentences = struct.unpack_from("<QBQ", head, len(MMAP))
                if code not in WIDTHS:
                    return None
                wanted = 26 + 12 * sentences
                if not sentences or size < wanted:
                    return wanted, 0
                last, start = _number(stream, 26 + 4 * (sentences - 1), "<i"), _number(stream, wanted - 8, "<q")
                return wanted, start + last * WIDTHS[code]
        except struct.error:
            # Not even the header is whole.
            return 48 if head.startswith(OLDER) else 26, 0
    return None


def _number(stream: Any, place: int, kind: str) -> int:
    stream.seek(place)
    return int(struct.unpack(kind, stream.read(struct.calcsize(kind)))[0])


def problem(prefix: str) -> str | None:
    """Return what is wrong with the sizes of `prefix.idx` and `prefix.bin`; None if nothing is."""
    index, data = Path(f"{prefix}.idx"), Path(f"{prefix}.bin")
    try:
        expected = expected_sizes(index)
        found = index.stat().st_size, data.stat().st_size
    except OSError:
        return None  # fairseq reports it
    if expected is None:
        return None
    if found[0] < expected[0]:
        path, has, wanted = index, found[0], f"its header says {expected[0]:,}"
    elif found[1] != expected[1]:
        path, has, wanted = data, found[1], f"{index.name} says {expected[1]:,}"
    else:
        return None
    why = (
        "It is longer than its index, so the two files are not of one binarisation"
        if has > expected[1] and path == data
        else "It is cut short, as after a full disk or an interrupted copy"
    )
    return (
        f"{path}: found {has:,} bytes, {wanted}. {why}. Binarise the text again (scripts/prepare.sh, lskd binarise or "
        "fairseq-preprocess), or copy the folder again"
    )


def needed() -> bool:
    """Every version of fairseq needs it."""
    return True


def apply() -> None:
    module: Any = sys.modules[MODULE]
    original = module.make_dataset
    if getattr(original, "checks_sizes", False):
        return

    @functools.wraps(original)
    def make_dataset(path: Any, impl: Any, *args: Any, **kwargs: Any) -> Any:
        if impl in ("mmap", "lazy", "cached") and (wrong := problem(str(path))):
            if is_command():
                sys.exit(f"fairseq_lskd: error: {wrong}")
            raise ValueError(wrong)
        return original(path, impl, *args, **kwargs)

    make_dataset.checks_sizes = True  # type: ignore[attr-defined]  # a mark on a function
    module.make_dataset = make_dataset
