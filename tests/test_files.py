"""Files that are whole or not there."""

import json
import os
import time
from pathlib import Path

import pytest

from fairseq_lskd.files import sha256, sweep, write_beside, write_json


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with write_beside(path) as part:
        assert part.parent == path.parent
        part.write_text("text")
        assert not path.exists()
    assert path.read_text() == "text"
    assert list(path.parent.iterdir()) == [path]


def test_after_an_error_the_old_file_is_there_and_no_other(tmp_path: Path) -> None:
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


def test_what_killed_calls_left_goes_after_a_day(tmp_path: Path) -> None:
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


def test_json_is_for_people(tmp_path: Path) -> None:
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
