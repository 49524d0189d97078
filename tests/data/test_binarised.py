"""Binarised data that is truncated, changed, or made with another dictionary."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import hostile
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import binarise

from fairseq_lskd.data.binarised import HEADER, check_binarised, count_sentences
from fairseq_lskd.data.dictionary import read_dictionary
from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences.corpus import open_corpus
from fairseq_lskd.teachers.task import load_dictionary, load_split, translation_task

PREFIX = "train.de-en.de"


@pytest.fixture(scope="module")
def whole(bitext: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Binarised data for each --dataset-impl."""
    return {"mmap": bitext, "cached": binarise(tmp_path_factory.mktemp("older"), "--dataset-impl", "cached")}


@pytest.fixture
def data(bitext: Path, tmp_path: Path) -> Path:
    """A copy of the binarised folder, 60 sentences of 14 and 15 symbols."""
    return Path(shutil.copytree(bitext, tmp_path / "bin"))


def change(path: Path, offset: int, content: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[offset : offset + len(content)] = content
    path.write_bytes(data)


def test_whole_data_pass(bitext: Path, whole: dict[str, Path]) -> None:
    assert check_binarised(bitext / PREFIX, 14) == 60
    assert check_binarised(bitext / "valid.de-en.en", 15) == 9
    assert check_binarised(whole["cached"] / PREFIX, 14) == 60
    for folder in whole.values():
        assert count_sentences(folder / f"{PREFIX}.idx") == 60
    assert count_sentences(bitext / f"{PREFIX}.bin") is None and count_sentences(bitext / "no.idx") is None


def test_a_dictionary_that_is_too_small(bitext: Path) -> None:
    with pytest.raises(UserError, match=r"train\.de-en\.de\.bin: sentence \d+ has the id 13"):
        check_binarised(bitext / PREFIX, 13)


@pytest.mark.parametrize(
    ("kind", "offset", "content", "said"),
    [
        ("idx", 0, b"X", "does not start like an index"),
        ("idx", 9, struct.pack("<Q", 2), "version 2"),
        ("idx", 17, b"\x06", "type 6"),  # floating-point numbers
        ("idx", 17, b"\x63", "type 99"),
        ("idx", 18, struct.pack("<Q", 61), "61 sentences"),
        ("idx", 18, struct.pack("<Q", 2**63), "sentences"),
        ("idx", HEADER + 4 * 7, struct.pack("<i", -1), "sentence 7 has -1 tokens"),
        ("idx", HEADER + 4 * 7, struct.pack("<i", 2**31 - 1), "sentence 7 has 2,147,483,647 tokens"),
        ("idx", HEADER + 4 * 60 + 8 * 9, struct.pack("<q", 2**62), "sentence 9 does not start where"),
        ("bin", 0, struct.pack("<H", 14), "sentence 0 has the id 14, but the dictionary's ids are 0 to 13"),
    ],
)
def test_wrong_numbers_are_named_with_their_place(
    data: Path, kind: str, offset: int, content: bytes, said: str
) -> None:
    change(data / f"{PREFIX}.{kind}", offset, content)
    with pytest.raises(UserError, match=rf"{PREFIX}\.{kind}|{PREFIX}\.bin") as caught:
        open_corpus(data, "train")
    assert any(each in str(caught.value) for each in said.split("|"))
    with pytest.raises(UserError, match="Binarise the text again"):
        load_split(translation_task(str(data), "de", "en"), "train", combine=True)


@pytest.mark.parametrize("kind", ["bin", "idx"])
@pytest.mark.parametrize("keep", [0, 1, 20, 100, -1])
def test_truncated_files(data: Path, kind: str, keep: int) -> None:
    path = data / f"{PREFIX}.{kind}"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=rf"{PREFIX}\.{kind}"):
        open_corpus(data, "train")
    path.unlink()
    with pytest.raises(UserError, match=rf"{PREFIX}\.bin: cannot be read|has no split 'train'"):
        open_corpus(data, "train")


def test_ids_below_0(data: Path) -> None:
    """With a signed type. fairseq would take these symbols from the end of the dictionary."""
    ids = np.fromfile(data / f"{PREFIX}.bin", "<u2").astype("<i2")
    ids[20] = -3
    ids.tofile(data / f"{PREFIX}.bin")
    change(data / f"{PREFIX}.idx", 17, b"\x03")
    with pytest.raises(UserError, match="has the id -3"):
        check_binarised(data / PREFIX, 14)


def test_two_sides_of_different_texts(data: Path) -> None:
    for kind in ("idx", "bin"):
        shutil.copy(data / f"valid.de-en.en.{kind}", data / f"train.de-en.en.{kind}")
    with pytest.raises(UserError, match=r"60 sentences of de.*9 of en"):
        load_split(translation_task(str(data), "de", "en"), "train")


DICTIONARY = "▁a 5\nb 0\n<unk> 3 #fairseq:overwrite\n日本 12\n".encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a 1\nb", "line 2"),
        (b"a 1\na 2\n", "line 2"),
        (b"a 1\nb \xff\n", "line 2 is not UTF-8"),
        (b"a " + b"1" * 5000, "line 1"),
        (b"a -\n", "line 1"),
    ],
)
def test_broken_dictionaries(data: Path, content: bytes, said: str) -> None:
    path = data / "dict.de.txt"
    path.write_bytes(content)
    for read in (load_dictionary, read_dictionary, lambda _: translation_task(str(data), "de", "en")):
        with pytest.raises(UserError, match=rf"dict\.de\.txt: {said}"):
            read(path)
    with pytest.raises(UserError, match=said):
        open_corpus(data, "train")


@hostile.few
@given(hostile.mutated(DICTIONARY))
def test_any_bytes_in_a_dictionary(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "dict.xx.txt"
    path.write_bytes(content)
    ours = hostile.read_or_refuse(lambda: read_dictionary(path), path)
    theirs = hostile.read_or_refuse(lambda: load_dictionary(path), path)
    assert ours is None or (theirs is not None and dict(ours) == theirs.indices)


@pytest.mark.parametrize("form", ["mmap", "cached"])
@hostile.few
@given(st.sampled_from(("bin", "idx")), st.data())
def test_any_bytes_in_binarised_data(
    tmp_path_factory: pytest.TempPathFactory, whole: dict[str, Path], form: str, kind: str, draw: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed"
    folder.mkdir(exist_ok=True)
    for path in (*whole[form].glob(f"{PREFIX}.*"), whole[form] / "dict.de.txt"):
        shutil.copy(path, folder)
    path = folder / f"{PREFIX}.{kind}"
    path.write_bytes(draw.draw(hostile.mutated(path.read_bytes())))

    def read() -> list[str]:
        corpus = open_corpus(folder, "train")
        return [" ".join(corpus.read(i, i + 1)) for i in range(corpus.sentences)]

    found = hostile.read_or_refuse(read, folder)
    assert found is None or len(found) == 60
