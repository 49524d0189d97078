"""Atomic writing of files."""

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fairseq_lskd.data.outputs import Manifest
from fairseq_lskd.files import free, sha256, size, sweep, write_beside, write_json


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with write_beside(path) as part:
        assert part.parent == path.parent
        part.write_text("text")
        assert not path.exists()
    assert path.read_text() == "text"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with write_beside(path) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_files_are_removed_after_a_day(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    old, new, other = (
        tmp_path / f".{name}.{8 * digit}.part" for name, digit in (("a.pt", "0"), ("a.pt", "1"), ("b", "0"))
    )
    folder = tmp_path / ".a.pt.00000000.partial"
    folder.mkdir()
    for part in (old, new, other, folder / "file"):
        part.touch()
    week_ago = time.time() - 7 * 86400
    for part in (old, other, folder):
        os.utime(part, (week_ago, week_ago))
    with write_beside(path) as part:
        part.touch()
    assert not old.exists() and new.exists() and other.exists()
    sweep(path, "partial")
    assert folder.is_dir()  # a file in it is new
    os.utime(folder / "file", (week_ago, week_ago))
    sweep(path, "partial")
    assert not folder.exists()


def failing(how: Exception) -> Callable[[Path], None]:
    def write(part: Path) -> None:
        part.write_text("half")
        raise how

    return write


@pytest.mark.parametrize(
    "how",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("1000 requested and 0 written"),  # raised by NumPy, without an errno
        RuntimeError("[enforce fail at inline_container.cc] unexpected pos"),  # raised by torch
    ],
)
def test_errors_on_a_full_disk_say_so(how: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, usage = tmp_path / "file", shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    with pytest.raises(OSError) as caught, write_beside(path) as part:
        failing(how)(part)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(path)
    assert not list(tmp_path.iterdir())


def test_other_errors_are_unchanged(tmp_path: Path) -> None:
    for how in (RuntimeError("of torch's"), OSError("of gzip's")):
        with pytest.raises(type(how), match=str(how)), write_beside(tmp_path / "file") as part:
            failing(how)(part)


def test_errors_name_the_output_and_not_the_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError) as caught, write_beside(tmp_path / "folder") as part:
        part.write_text("a")
    assert caught.value.filename == str(tmp_path / "folder") and ".part" not in str(caught.value)
    with pytest.raises(OSError) as caught, Manifest("m.json", {}).written(tmp_path / "out") as (folder, _):
        (folder / "none" / "a").write_text("a")
    assert caught.value.filename == str(tmp_path / "out" / "none" / "a") and "partial" not in str(caught.value)


def test_json_is_indented(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"straße": [1, None]})
    assert path.read_text(encoding="utf-8") == '{\n  "straße": [\n    1,\n    null\n  ]\n}\n'
    assert json.loads(path.read_text(encoding="utf-8")) == {"straße": [1, None]}


def test_json_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, 1)
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_text() == "1\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ],
)
def test_sha256_is_that_of_fips_180(data: bytes, digest: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert sha256(path) == digest


def test_the_free_space_of_a_folder_that_does_not_exist_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", {tmp_path: usage}.__getitem__)
    assert free(tmp_path / "new" / "folder") == free(Path("new")) == usage.free


@pytest.mark.parametrize(
    ("count", "words"),
    [(None, "size unknown"), (7, "7 bytes"), (999_999, "999,999 bytes"), (2e6, "2 MB"), (2.25e9, "2.2 GB")],
)
def test_sizes_in_words(count: int | None, words: str) -> None:
    assert size(count) == words
