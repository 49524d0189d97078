"""Binarise text in pieces: the same bytes that fairseq-preprocess writes, in a fraction of its time.

A `.bin` file holds the ids of all sentences, each followed by the id of `</s>`. A `.idx` file holds the type of the
ids, the number of sentences, and the length and offset of each sentence (fairseq 0.12: `MMapIndexedDataset`).
"""

from __future__ import annotations

import shutil
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..errors import UserError
from ..files import sha256
from ..names import within
from ..reading import COUNT
from .binarised import MAGIC, VERSION
from .bitext import SPLITS
from .chunks import Chunk, map_chunks, read_chunks
from .dictionary import EOS, UNKNOWN, Ids, read_dictionary
from .outputs import Manifest
from .vocabulary import MANIFEST as ENCODED
from .vocabulary import read_encoded

MANIFEST = "binarise.json"
#: fairseq's code for a type of ids, and the NumPy type.
SMALL, LARGE = (8, np.uint16), (9, np.uint32)
LARGEST_SMALL = 65_499  #: the largest dictionary that fairseq stores with the small type


@dataclass
class Binarised:
    """The counts of a binarised file."""

    lines: int = 0
    tokens: int = 0  #: including </s>
    unknown: int = 0  #: tokens that the dictionary lacks


@dataclass(frozen=True)
class Lookup:
    """Maps a chunk to the bytes of its ids, the lengths of its lines (`[lines]`, int32), and its unknown tokens."""

    ids: Ids

    def __call__(self, chunk: Chunk) -> tuple[bytes, np.ndarray, int]:
        data: list[int] = []
        lengths: list[int] = []
        find = self.ids.__getitem__
        for line in chunk.raw_lines():
            pieces = line.split()
            data += map(find, pieces)
            data.append(EOS)
            lengths.append(len(pieces) + 1)
        ids = np.fromiter(data, _type(self.ids)[1], len(data))
        return ids.tobytes(), np.array(lengths, np.int32), int((ids == UNKNOWN).sum())


def binarise_file(pieces: Path, ids: Ids, prefix: Path, workers: int = 1, bar: Any = None) -> Binarised:
    """Binarise the text in `pieces` to `prefix.bin` and `prefix.idx`. `ids` comes from `read_dictionary`."""
    facts, lengths = Binarised(), [np.empty(0, np.int32)]
    with prefix.with_name(f"{prefix.name}.bin").open("wb") as stream:
        for data, sizes, unknown in map_chunks(Lookup(ids), read_chunks(pieces), workers):
            stream.write(data)
            lengths.append(sizes)
            facts.unknown += unknown
            if bar is not None:
                bar.update(len(sizes))
    code, kind = _type(ids)
    sizes = np.concatenate(lengths)
    facts.lines, facts.tokens = len(sizes), int(sizes.sum(dtype=np.int64))
    ends = np.cumsum(sizes, dtype=np.int64) * np.dtype(kind).itemsize
    with prefix.with_name(f"{prefix.name}.idx").open("wb") as stream:
        stream.write(MAGIC + struct.pack("<QBQ", VERSION, code, len(sizes)))
        stream.write(sizes.tobytes())
        stream.write(np.concatenate(([0], ends[:-1])).astype(np.int64).tobytes() if len(ends) else b"")
    return facts


def binarise(pieces: Path, out: Path, workers: int = 1) -> bool:
    """Binarise every split in a folder that `lskd encode` wrote, for fairseq-train. `out` also gets its dictionaries.

    Return False if `out` is up to date. Raise `UserError` if it holds something else, or `pieces` has no encoded text.
    """
    if workers < 1:
        raise UserError(f"--workers {workers}: expected at least 1")
    if not (pieces / ENCODED).exists():
        raise UserError(f"{pieces}: found no {ENCODED} there; expected a folder that `lskd encode` wrote")
    record = read_encoded(pieces, counts={str: {"lines": COUNT}}, outputs={str: COUNT})
    languages = [record["options"][f"{side}-lang"] for side in ("source", "target")]
    counts, outputs = record["counts"], record["outputs"]
    listed = {name: within(pieces, name, f"{pieces / ENCODED}: output") for name in outputs}
    changed = [name for name, size in outputs.items() if not _has(listed[name], size)]
    if changed:
        raise UserError(f"{pieces}: {', '.join(changed)}: missing or changed since `lskd encode`; encode it again")
    manifest = Manifest(
        MANIFEST,
        {"source-lang": languages[0], "target-lang": languages[1]},
        {ENCODED: sha256(pieces / ENCODED)},
        libraries=("numpy",),
    )
    if manifest.is_up_to_date(out):
        return False
    with manifest.written(out) as (folder, facts):
        total = sum(count["lines"] for count in counts.values())
        facts["counts"] = {}
        with tqdm(total=total, desc="binarising", unit=" lines", unit_scale=True, delay=2, disable=None) as bar:
            for language in languages:
                shutil.copyfile(pieces / f"dict.{language}.txt", folder / f"dict.{language}.txt")
                ids = read_dictionary(folder / f"dict.{language}.txt")
                for split in SPLITS:
                    prefix = folder / f"{split}.{'-'.join(languages)}.{language}"
                    found = binarise_file(pieces / f"{split}.{language}", ids, prefix, workers, bar)
                    name = f"{split}.{language}"
                    if found.lines != (wanted := counts[name]["lines"]):
                        raise UserError(
                            f"{pieces / name} has {found.lines:,} lines, {ENCODED} expects {wanted:,}; encode it again"
                        )
                    facts["counts"][name] = asdict(found)
    return True


def _has(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _type(ids: Ids) -> tuple[int, Any]:
    return SMALL if len(ids) <= LARGEST_SMALL else LARGE
