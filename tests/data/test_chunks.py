"""Chunks of a text, and mapping a function over them with several processes."""

from __future__ import annotations

import gzip
import os
import signal
from pathlib import Path

import pytest

from fairseq_lskd.data import chunks
from fairseq_lskd.data.chunks import Chunk, map_chunks, read_chunks
from fairseq_lskd.errors import UserError


@pytest.mark.parametrize("name", ["text", "text.gz"])
def test_chunks_are_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(chunks, "SIZE", 4)
    raw = "\ufeffone\r\ntwo two \u0085 two\n\nfour".encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    found = list(read_chunks(tmp_path / name))
    assert [(chunk.first, len(chunk), chunk.lines()) for chunk in found] == [
        (1, 1, ["one"]),
        (2, 1, ["two two two"]),
        (3, 2, ["", "four"]),
    ]


def shout(word: str) -> str:
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return word.upper()


def test_results_keep_their_order() -> None:
    words = [f"word{i}" for i in range(40)]
    assert list(map_chunks(shout, iter(words), 2)) == [word.upper() for word in words]


def test_no_more_is_read_than_is_needed() -> None:
    read = []

    def words():
        for i in range(50):
            read.append(i)
            yield f"word{i}"

    results = map_chunks(shout, words(), 2)
    assert next(results) == "WORD0" and len(read) <= 2 * chunks.AHEAD + 2
    results.close()


def test_a_killed_process_is_a_message() -> None:
    with pytest.raises(UserError, match=r"one of 2 worker processes was killed.* fewer --workers"):
        list(map_chunks(shout, ["a", "b", "die", "c"], 2))


def test_one_chunk_needs_no_processes() -> None:
    assert list(map_chunks(lambda chunk: chunk.lines(), [Chunk(1, b"a\n")], 8)) == [["a"]]
