"""Text files, plain and gzipped."""

from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path

import pytest

from fairseq_lskd.errors import UserError
from fairseq_lskd.lines import open_text, raw_lines, read_lines


@pytest.mark.parametrize(
    ("name", "zipped", "by_content"),
    [("a", False, False), ("a.gz", True, False), ("a", False, True), ("a", True, True), ("a.gz", False, True)],
)
def test_text_is_read_unchanged(tmp_path: Path, name: str, zipped: bool, by_content: bool) -> None:
    text = b"one\r\ntwo\xe2\x80\xa8still two\nthree"
    (tmp_path / name).write_bytes(gzip.compress(text) if zipped else text)
    with open_text(tmp_path / name, by_content=by_content) as stream:
        assert stream.read() == text


def test_a_gzip_file_without_gz_in_its_name_is_read_as_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(b"one\n"))
    with open_text(tmp_path / "a") as stream:
        assert stream.read(2) == b"\x1f\x8b"


def test_a_pipe_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"one\ntwo\n",))
    writer.start()
    assert list(read_lines(tmp_path / "pipe")) == ["one", "two"]
    writer.join()


def test_lines_end_at_line_feeds_only_and_a_byte_order_mark_is_dropped_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("\ufeffone\r\ntwo\u2028still\u0085two\rhere\n\ufeffthree", newline="")
    assert list(read_lines(tmp_path / "a")) == ["one", "two\u2028still\u0085two\rhere", "\ufeffthree"]


def test_offsets_are_of_the_uncompressed_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress("é\r\n\nb".encode()))
    assert list(raw_lines(tmp_path / "a.gz")) == [(0, "é".encode()), (4, b""), (5, b"b")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("gut\nHäuser\n".encode("latin1"), "line 2 is not UTF-8: byte 0xe4 at position 2 of the line (offset 5"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_unreadable_files_are_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError) as raised:
        list(read_lines(tmp_path / "a"))
    assert str(raised.value).startswith(f"{tmp_path / 'a'}: {said}")


@pytest.mark.parametrize(
    ("content", "way_out"),
    [
        (gzip.compress("Häuser\n".encode()), "rename it to a.gz"),
        ("Häuser\n".encode("utf-16"), "iconv -f utf-16 -t utf-8"),
        ("Häuser\n".encode("latin1"), "iconv -f latin1 -t utf-8"),
    ],
    ids=["gzip", "utf-16", "latin1"],  # not of the bytes: gzip writes the time into them
)
def test_the_way_out_depends_on_what_the_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, way_out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").write_bytes(content)
    with pytest.raises(UserError) as raised:
        list(read_lines(Path("a")))
    assert way_out in str(raised.value)


def test_a_truncated_gzip_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"".join(b"%d\n" % (i * i) for i in range(5000)))[:-500])
    with pytest.raises(UserError, match=r"a\.gz: not a whole gzip file"):
        list(read_lines(tmp_path / "a.gz"))
