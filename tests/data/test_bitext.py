"""Each problem of a bitext on disk has its own message."""

import gzip
import hashlib
from pathlib import Path

import pytest

from fairseq_lskd.data.bitext import check_bitext, examine
from fairseq_lskd.errors import UserError
from fairseq_lskd.lines import read_lines


def write(folder: Path, **files: str | bytes) -> Path:
    """Write files by name, with `_` for `.`. A name that ends in gz is compressed."""
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        path = folder / name.replace("_", ".")
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return folder


def complaint(folder: Path, splits: tuple[str, ...] = ("train",)) -> str:
    with pytest.raises(UserError) as error:
        check_bitext(folder, ("de", "en"), splits)
    return str(error.value)


def test_good_bitext(tmp_path: Path) -> None:
    text = "ein Haus\nzwei Häuser\n"
    write(tmp_path, train_de=text, train_en_gz="a house\ntwo houses")
    found = check_bitext(tmp_path, ("de", "en"), ("train",))["train"]
    assert (found["de"].lines, found["en"].lines) == (2, 2)
    assert found["de"].sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert list(read_lines(found["en"].path)) == ["a house", "two houses"]


def test_gzip_does_not_change_the_digest(tmp_path: Path) -> None:
    write(tmp_path, a_de="x\ny\n", b_de_gz="x\ny\n")
    assert examine(tmp_path / "a.de").sha256 == examine(tmp_path / "b.de.gz").sha256


def test_lines_end_at_line_feeds_only(tmp_path: Path) -> None:
    write(tmp_path, a="\ufeffone\r\ntwo\u2028still\u0085two\rhere\n\ufeffthree")
    assert examine(tmp_path / "a").lines == 3


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert complaint(tmp_path / "x") == f"{tmp_path / 'x'}: no such folder"
    assert complaint(write(tmp_path, f="1") / "f") == f"{tmp_path / 'f'}: not a folder"


def test_missing(tmp_path: Path) -> None:
    write(tmp_path, train_de="x\n")
    message = complaint(tmp_path)
    assert message.startswith(f"1 problem in the bitext:\n  {tmp_path / 'train.en'}: not found")
    assert message.endswith("train.en.gz")


def test_plain_and_gzipped(tmp_path: Path) -> None:
    write(tmp_path, train_de="x\n", train_de_gz="x\n", train_en="x\n")
    assert f"{tmp_path / 'train.de'}: found train.de.gz as well" in complaint(tmp_path)


def test_not_utf8(tmp_path: Path) -> None:
    write(tmp_path, train_de="gut\nHäuser\nfür\n".encode("latin1"), train_en="a\nb\nc\n")
    message = complaint(tmp_path)
    assert f"{tmp_path / 'train.de'}: line 2 is not UTF-8: byte 0xe4 at position 2 of the line" in message
    assert "(offset 5 of the file)" in message
    assert "iconv" in message and "the first of 2 such lines" in message
    with pytest.raises(UserError, match="line 2 is not UTF-8"):
        list(read_lines(tmp_path / "train.de"))


def test_utf16_has_a_conversion_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, train_de="gut\n".encode("utf-16"), train_en="a\n")
    assert "line 1 is not UTF-8" in (message := complaint(tmp_path)) and "iconv -f utf-16 -t utf-8" in message


def test_different_lengths(tmp_path: Path) -> None:
    write(tmp_path, train_de="a\nb\nc\n", train_en_gz="a\nb\n")
    assert (f"{tmp_path / 'train.en.gz'} has 2 lines, train.de has 3: train.en.gz ends after line 2") in complaint(
        tmp_path
    )


def test_blank_lines(tmp_path: Path) -> None:
    write(tmp_path, train_de="a\n\nb\n" + " \t\n" * 6, train_en="a\nx\n\u00a0\n" + "y\n" * 6)
    assert (
        f"{tmp_path / 'train.de'}: blank: 7 lines (2, 4, 5, 6, 7, …); "
        f"{tmp_path / 'train.en'}: blank: 1 line (3); remove these lines from BOTH sides"
    ) in complaint(tmp_path)


def test_empty_file(tmp_path: Path) -> None:
    write(tmp_path, train_de="", train_en_gz="")
    message = complaint(tmp_path)
    assert f"{tmp_path / 'train.de'}: the file is empty" in message
    assert f"{tmp_path / 'train.en.gz'}: the file is empty" in message


@pytest.mark.parametrize("damage", ["cut", "not gzip", "middle"])
def test_broken_gzip(tmp_path: Path, damage: str) -> None:
    write(tmp_path, train_de="a\n", train_en_gz="".join(f"{i * i}\n" for i in range(5000)))
    path = tmp_path / "train.en.gz"
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        {
            "cut": data[:middle],
            "not gzip": b"plain\n",
            "middle": data[:middle] + bytes(255 - byte for byte in data[middle : middle + 40]) + data[middle + 40 :],
        }[damage]
    )
    message = complaint(tmp_path)
    assert f"{path}: not a whole gzip file" in message and "fetch or compress it again" in message
    assert "ends after line" not in message, "the length of a broken file is not known"
    with pytest.raises(UserError, match="not a whole gzip file"):
        list(read_lines(path))


def test_unreadable(tmp_path: Path) -> None:
    write(tmp_path, train_de="a\n")
    (tmp_path / "train.en").mkdir()
    assert f"{tmp_path / 'train.en'}: cannot be read (Is a directory)" in complaint(tmp_path)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        train_de="a\n\nb\n",
        train_en="a\nb\n",
        valid_de=b"\xff\n",
        valid_en="",
        test_de="x\n",
    )
    message = complaint(tmp_path, ("train", "valid", "test"))
    assert message.startswith("5 problems in the bitext:\n")
    for part in (
        "train.en has 2 lines",
        "train.de: blank: 1 line (2)",
        "0xff",
        "valid.en: the file is empty",
        "test.en",
    ):
        assert part in message
