"""Archives of every kind: intact, broken and harmful."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import hostile
import pytest
from hypothesis import given
from hypothesis import strategies as st
from npz_files import patch

from fairseq_lskd.data.acquire.archives import members
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


def test_a_name_may_begin_with_dot_slash_and_a_member_may_be_gzipped(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"./x/giga.en.gz": gzip.compress(b"one\n")}, "w")
    assert read(path, "x/giga.en.gz") == {"x/giga.en.gz": b"one\n"}


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tgz", FILES)
    with pytest.raises(UserError, match=r"a\.tgz: has no member train/a\.fr; is it another archive"):
        read(path, "train/a.de", "train/a.fr")


def test_several_members_of_a_pattern_are_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tgz", {"a.en": b"", "b.en": b""})
    with pytest.raises(UserError, match=r"several members match \*\.en"):
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


def test_patterns_that_both_match_a_member_are_named(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tgz", FILES)
    with pytest.raises(UserError, match=r"its member train/a\.de matches train/\* and \*\.de"):
        read(path, "train/*", "*.de")


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("changes", [{"flags": 1}, {"flags": 0x41}, {"method": 99}])
def test_members_that_python_cannot_unpack(tmp_path: Path, changes: dict[str, int]) -> None:
    path = patch(zipped(tmp_path / "a.zip"), "train/a.de", **changes)
    assert read(path, "train/a.en") == {"train/a.en": FILES["train/a.en"]}  # the wrong member is not needed
    with pytest.raises(UserError, match=r"a\.zip: its member train/a\.de cannot be unpacked .* --raw"):
        read(path, "train/a.de")


def test_exceptions_of_the_caller_are_not_changed(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip")
    with pytest.raises(ValueError, match="mine") as caught:
        for _ in members(path, ["train/a.de"]):
            raise ValueError("mine")
    assert not isinstance(caught.value, UserError)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("archives")
    files = FILES | {"train/b.de.gz": gzip.compress(b"drei\n")}
    made = {mode: tar(folder / f"a.{mode[2:]}", files, mode) for mode in ("w:", "w:gz", "w:bz2", "w:xz")}
    return {mode: path.read_bytes() for mode, path in made.items()} | {"zip": zipped(folder / "a.zip").read_bytes()}


@pytest.mark.parametrize("kind", ["w:", "w:gz", "w:bz2", "w:xz", "zip"])
@hostile.few
@given(st.data())
def test_any_bytes_in_an_archive(
    tmp_path_factory: pytest.TempPathFactory, archives: dict[str, bytes], kind: str, draw: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.archive"
    path.write_bytes(draw.draw(hostile.mutated(archives[kind])))
    hostile.read_or_refuse(lambda: read(path, "train/a.de", "*.gz" if kind != "zip" else "*.en"), path)


@pytest.mark.parametrize("kind", [0o120000, 0o010000, 0o020000])
def test_a_zip_archive_with_a_link_or_a_device_in_place_of_a_text(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo("a.de")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UserError, match=r"its member a\.de is not a file"):
        read(tmp_path / "a.zip", "a.de")
