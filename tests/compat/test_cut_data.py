"""fairseq's commands name binarised data that are cut short, before anything is trained."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny import binarise

from fairseq_lskd.compat import cut_data

from .conftest import TRAIN, fairseq

PREFIX = "train.de-en.de"


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return binarise(tmp_path_factory.mktemp("older"), "--dataset-impl", "cached")


@pytest.fixture(params=["mmap", "cached"])
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a binarised folder, in each format."""
    folder = request.getfixturevalue({"mmap": "bitext", "cached": "older"}[request.param])
    return Path(shutil.copytree(folder, tmp_path / "bin"))


def cut(path: Path, keep: int) -> tuple[int, int]:
    """Cut a file. Return the number of bytes that are left, and that there were."""
    content = path.read_bytes()
    path.write_bytes(content[:keep])
    return path.stat().st_size, len(content)


def test_whole_data_have_no_problem(whole: Path) -> None:
    for index in whole.glob("*.idx"):
        assert cut_data.problem(str(index.with_suffix(""))) is None


@pytest.mark.parametrize("keep", [0, 1, -1])
def test_data_that_are_cut_short(whole: Path, keep: int) -> None:
    found, expected = cut(whole / f"{PREFIX}.bin", keep)
    assert (said := cut_data.problem(str(whole / PREFIX)))
    assert said.startswith(
        f"{whole / PREFIX}.bin: found {found:,} bytes, {PREFIX}.idx says {expected:,}. It is cut short"
    )
    assert "Binarise the text again" in said and "copy the folder again" in said


@pytest.mark.parametrize("keep", [10, 30, 100, -1])
def test_an_index_that_is_cut_short(whole: Path, keep: int) -> None:
    found, _ = cut(whole / f"{PREFIX}.idx", keep)
    assert (said := cut_data.problem(str(whole / PREFIX)))
    assert said.startswith(f"{whole / PREFIX}.idx: found {found:,} bytes, its header says ") and "cut short" in said


def test_files_of_two_binarisations(whole: Path) -> None:
    with (whole / f"{PREFIX}.bin").open("ab") as stream:
        stream.write(b"\0\0")
    assert (said := cut_data.problem(str(whole / PREFIX))) and "not of one binarisation" in said


def test_what_fairseq_reports_itself_has_no_problem_here(whole: Path) -> None:
    (whole / f"{PREFIX}.bin").unlink()
    assert cut_data.problem(str(whole / PREFIX)) is None and cut_data.problem(str(whole / "none")) is None
    (whole / f"{PREFIX}.bin").touch()
    (whole / f"{PREFIX}.idx").write_bytes(b"another format")
    assert cut_data.problem(str(whole / PREFIX)) is None


def test_an_empty_data_set(tmp_path: Path) -> None:
    (tmp_path / "none.idx").write_bytes(cut_data.MMAP + bytes([1, 0, 0, 0, 0, 0, 0, 0, 4]) + bytes(8))
    (tmp_path / "none.bin").touch()
    assert cut_data.problem(str(tmp_path / "none")) is None


def test_outside_of_commands_it_is_an_exception(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    module = SimpleNamespace(make_dataset=lambda path, impl, **more: opened.append(path))
    monkeypatch.setitem(sys.modules, cut_data.MODULE, module)
    for _ in range(2):
        cut_data.apply()
    prefix = str(whole / PREFIX)
    module.make_dataset(prefix, "mmap", dictionary=None)
    cut(whole / f"{PREFIX}.bin", 20)
    module.make_dataset(prefix, "fasta")
    assert opened == [prefix, prefix]
    with pytest.raises(ValueError, match="found 20 bytes"):
        module.make_dataset(prefix, impl="cached")


def test_fairseq_train_ends_with_the_message(data: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data, tmp_path / "bin"))
    found, expected = cut(folder / "train.de-en.en.bin", -40)
    done = fairseq("train", folder, *TRAIN, "--max-update", 1, "--save-dir", tmp_path / "run")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"train.de-en.en.bin: found {found:,} bytes" in (last := done.stderr.splitlines()[-1])
    assert last.startswith("fairseq_lskd: error: ") and f"says {expected:,}" in last
