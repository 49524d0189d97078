"""Valid and invalid .npz files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
from hypothesis import given
from npz_files import archive, member, patch

from fairseq_lskd.analysis.arrays import load_npz
from fairseq_lskd.errors import UserError
from fairseq_lskd.npz import read_npz
from fairseq_lskd.sequences import SequenceWeights

FLOATS = np.array([1.0, 2, 3], np.float32)


def test_named_arrays_are_read(tmp_path: Path) -> None:
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", a=FLOATS, b=np.zeros((2, 0)), c=np.array("text"), other=np.array([{}], object))
        found = read_npz(tmp_path / "a.npz", ("a", "b", "c", "d"), "arrays")
        assert found.keys() == {"a", "b", "c"} and found["a"].tolist() == [1, 2, 3]
        assert found["b"].shape == (2, 0) and found["c"] == "text"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (member(FLOATS, shape=(4,)), r"its shape \[4\] needs 16 bytes, but it has 12"),
        (member(FLOATS, shape=(10**12,)), r"needs 4,000,000,000,000 bytes"),
        (member(FLOATS, shape=(2**40, 2**40)), "needs"),
        (member(FLOATS, shape=(-3,)), "shape"),
        (member(FLOATS, descr="|O"), "Python objects"),
        (member(FLOATS, descr="a" * 50), "descr"),
        (member(FLOATS).replace(b"descr", b"descx"), "descx"),
        (member(FLOATS)[:40], "array header|EOF"),
        (b"", "magic"),
        (b"\x93NUMPY\x09\x00" + bytes(60), "version 9.0"),
    ],
)
def test_arrays_that_contradict_their_headers(tmp_path: Path, content: bytes, said: str) -> None:
    path = archive(tmp_path / "a.npz", a=content)
    with hostile.bounded(), pytest.raises(UserError, match=rf"a\.npz: a: .*({said}).*expected arrays"):
        read_npz(path, ["a"], "arrays")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"flags": 1}, "encrypted"),
        ({"method": 99}, "compression"),
        ({"size": 2**31}, "2,147,483,648 bytes, but the file has only"),
    ],
)
def test_unsupported_members(tmp_path: Path, changes: dict[str, int], said: str) -> None:
    path = archive(tmp_path / "w.npz", weight=member(FLOATS), reference=member(FLOATS))
    patch(path, "weight.npy", **changes)
    with pytest.raises(UserError, match=rf"w\.npz: weight: .*{said}"):
        SequenceWeights.load(path)


GOOD: dict[str, Any] = {"logits": np.eye(3, 4) * 5, "labels": np.array([0, 1, 2])}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"logits": np.eye(3, 4) * 1e300}, "numbers beyond float32 in 3 of 3 rows"),
        ({"logits": np.full((3, 4), -(2.0**1000))}, "beyond float32"),
        ({"labels": np.array([0, 1, 2], "m8[s]")}, "labels have the dtype timedelta64"),
        ({"logits": np.eye(3, 4).astype("m8[s]")}, "expected real numbers"),
        ({"classes": np.array([b"a", b"b", b"\xff", b"c"])}, "classes has names that are not valid text"),
        ({"split": np.array(["a", "b", "\ud800"])}, "split has names that are not valid text"),
        ({"classes": np.array([b"a", b"b", b"a", b"c"])}, "classes has duplicate names"),
        ({"label_smoothing": np.float64(1e300)}, "label_smoothing is 1e"),
    ],
)
def test_invalid_values(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    np.savez(tmp_path / "a.npz", **(GOOD | changes))
    with pytest.raises(UserError, match=rf"a\.npz: .*{said}"):
        load_npz(tmp_path / "a.npz")


def test_names_as_bytes_are_utf8(tmp_path: Path) -> None:
    names = [word.encode() for word in ("Äpfel", "b", "c", "d")]
    np.savez(tmp_path / "a.npz", **GOOD, classes=np.array(names))
    assert load_npz(tmp_path / "a.npz").names == ("Äpfel", "b", "c", "d")


def _saved(save: Any, **arrays: Any) -> bytes:
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


MORE = {"split": np.array(["a", "b", "a"]), "classes": np.array([b"a", b"b", b"c", b"d"])}


@hostile.few
@given(hostile.mutated(_saved(np.savez, **GOOD, **MORE)) | hostile.mutated(_saved(np.savez_compressed, **GOOD, **MORE)))
def test_fuzzed_saved_outputs(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.npz"
    path.write_bytes(content)
    found = hostile.read_or_refuse(lambda: load_npz(path), path)
    assert found is None or bool(found.log_probs.isfinite().all())


@hostile.few
@given(hostile.mutated(_saved(np.savez, weight=FLOATS, reference=FLOATS / 3)))
def test_fuzzed_weights(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.npz"
    path.write_bytes(content)
    found = hostile.read_or_refuse(lambda: SequenceWeights.load(path), path)
    assert found is None or found.weight.sum() > 0
