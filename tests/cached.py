"""Helpers that write teacher caches with `lskd cache`, in small blocks."""

from __future__ import annotations

from pathlib import Path

import pytest
from tqdm import tqdm

from fairseq_lskd.cli import main
from fairseq_lskd.teachers import cache_writer

#: The top k of the caches; the vocabulary has 15 types.
K = 4

tqdm.monitor_interval = 0  # no thread, since tests fork


def write_cache(data: Path, teacher_path: Path | str, out: Path, *flags: str, block_bytes: int = 1024) -> Path:
    """Run `lskd cache` in this process, with blocks of a few sentences each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_writer, "BLOCK_BYTES", block_bytes)
        main(["cache", str(data), "--teacher-path", str(teacher_path), "--out", str(out), "--top-k", str(K), *flags])
    return out


def contents(folder: Path) -> dict[str, bytes]:
    """Return the contents of the files in a folder, without unfinished files of killed processes."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix != ".part"}


def flip(path: Path, offset: int = -1, bit: int = 1) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= bit
    path.write_bytes(data)


def blocks(folder: Path) -> list[Path]:
    return sorted(folder.glob("block-*.npy"))
