"""Archives of every kind, whole, broken and harmful."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from fairseq_lskd.data.acquire.archives import broken, members
from fairseq_lskd.errors import UserError

FILES = {"train/a.de": b"eins\nzwei\n", "train/a.en": b"one\ntwo\n", "README": b"read me\n"}


def tar(path: Path, files: dict[str, bytes], mode: str = "w:gz", extra: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return path


def read(path: Path, *wanted: str) -> dict[str, bytes]:
    with broken(path):
        return {name: stream.read() for name, stream in members(path, wanted)}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_members_of_tar_archives(tmp_path: Path, mode: str) -> None:
    path = tar(tmp_path / "a", FILES, mode)
    assert read(path, "train/a.en", "train/a.de") == {name: FILES[name] for name in ("train/a.de", "train/a.en")}


def test_members_of_zip_archives_by_pattern(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    assert read(tmp_path / "a.zip", "*.en", "*.de") == {"*.de": FILES["train/a.de"], "*.en": FILES["train/a.en"]}


def test_a_name_may_begin_with_this_folder_and_a_member_be_gzipped(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"./x/giga.en.gz": gzip.compress(b"one\n")}, "w")
    assert read(path, "x/giga.en.gz") == {"x/giga.en.gz": b"one\n"}


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tgz", FILES)
    with pytest.raises(UserError, match=r"a\.tgz: has no member train/a\.fr; is it another archive"):
        read(path, "train/a.de", "train/a.fr")


def test_several_members_of_a_pattern_are_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tgz", {"a.en": b"", "b.en": b""})
    with pytest.raises(UserError, match=r"several members are called \*\.en"):
        read(path, "*.en")


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


@pytest.mark.parametrize("name", ["../evil.en", "train/../../evil.en", "/etc/evil.en"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_member_outside_its_folder_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / "inner" / "a"
    path.parent.mkdir()
    if kind == "tar":
        tar(path, FILES | {name: b"evil\n"})
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("train/a.de", b"x")
            archive.writestr(name, b"evil\n")
    with pytest.raises(UserError, match=f"its member {name} points outside its folder"):
        read(path, "train/a.de")
    assert [found.name for found in tmp_path.rglob("*")] == ["inner", "a"]


@pytest.mark.parametrize(
    "info",
    [link("train/b.de", "../../passwd"), link("b", "/etc/passwd"), link("b", "../x", tarfile.LNKTYPE)],
)
def test_a_link_outside_its_folder_is_refused(tmp_path: Path, info: tarfile.TarInfo) -> None:
    path = tar(tmp_path / "a.tgz", FILES, extra=(info,))
    with pytest.raises(UserError, match="points outside its folder"):
        read(path, "train/a.de")


def test_a_link_in_place_of_a_text_is_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tgz", {}, extra=(link("train/a.de", "b.de"),))
    with pytest.raises(UserError, match=r"its member train/a\.de is not a file"):
        read(path, "train/a.de")


@pytest.mark.parametrize("damage", ["cut", "middle", "end", "html"])
def test_a_broken_archive_is_named(tmp_path: Path, damage: str) -> None:
    text = b"".join(b"%d\n" % (i * i * 7919) for i in range(20_000))
    path = tar(tmp_path / "a.tgz", {"a.de": text, "a.en": text[::-1]})
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(
        {
            "cut": data[:half],
            "middle": data[:half] + bytes(255 - byte for byte in data[half : half + 50]) + data[half + 50 :],
            "end": data[:-8] + b"\0" * 8,
            "html": b"<html>sign in first</html>",
        }[damage]
    )
    with pytest.raises(UserError, match=r"a\.tgz: broken \(.*\); fetch it again"):
        read(path, "a.de")
