"""The weights of sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fairseq_lskd.errors import UserError
from fairseq_lskd.files import sha256
from fairseq_lskd.sequences import SequenceWeights


def weights(*values: float, references: int = 0) -> SequenceWeights:
    """Create weights; the last `references` are those of references."""
    flags = [i >= len(values) - references for i in range(len(values))]
    return SequenceWeights(np.array(values, np.float32), np.array(flags, bool))


def test_load_returns_what_save_wrote(tmp_path: Path) -> None:
    saved = weights(0.0, 0.1, 3e38, references=2)
    saved.save(tmp_path / "new" / "w.npz")
    loaded = SequenceWeights.load(tmp_path / "new" / "w.npz")
    assert loaded.weight.tolist() == saved.weight.tolist() and loaded.weight.dtype == np.float32
    assert loaded.reference.tolist() == [0, 1, 1] and loaded.reference.dtype == np.float32
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["w.npz"]


def test_the_same_weights_make_the_same_file(tmp_path: Path) -> None:
    # The record of a training has the digest of this file, so writing it again must not change it.
    for name in ("a.npz", "b.npz"):
        weights(1, 2).save(tmp_path / name)
    assert sha256(tmp_path / "a.npz") == sha256(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, [2, 4, 0, 0]), (0.25, [1.5, 3, 0.25, 2]), (0.5, [1, 2, 0.5, 4]), (1.0, [0, 0, 1, 8])],
)
def test_references_get_their_share_of_the_loss(share: float, expected: list[float]) -> None:
    given = weights(2, 4, 1, 8, references=2)
    shared = given.share(share)
    assert shared.weight.tolist() == expected and shared.weight.dtype == np.float32
    assert shared.reference.tolist() == [False, False, True, True]
    assert given.weight.tolist() == [2, 4, 1, 8]


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("added", [0.5, 0.25])
def test_a_source_with_one_kind_of_target_weighs_as_much_as_those_with_both(share: float, added: float) -> None:
    weight = np.array([1 - added, added, 1], np.float32)
    translation, reference, alone = SequenceWeights(weight, np.array([0, 1, added], np.float32)).share(share).weight
    assert alone == translation + reference > 0


def test_booleans_of_older_files_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", weight=np.ones(2, np.float32), reference=np.array([False, True]))
    assert SequenceWeights.load(tmp_path / "w.npz").share(0.25).weight.tolist() == [0.75, 0.25]


def test_a_share_that_leaves_no_weight_is_refused() -> None:
    with pytest.raises(UserError, match=r"--reference-weight 1 .*all targets are translations"):
        weights(1, 2).share(1.0)
    with pytest.raises(UserError, match=r"--reference-weight 0 .*all targets are references"):
        weights(1, 2, references=2).share(0.0)


@pytest.mark.parametrize(
    ("reference", "kind"),
    [(0.0, "all 3 targets are translations"), (1.0, "are references"), (0.5, "of sources without")],
)
def test_a_share_without_effect_is_refused(reference: float, kind: str) -> None:
    given = SequenceWeights(np.array([1, 2, 4], np.float32), np.full(3, reference, np.float32))
    with pytest.raises(UserError, match=rf"--reference-weight 0.3 has no effect: .*{kind}.*--add-references"):
        given.share(0.3)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--sequence-weights .*w.npz: no such file.*lskd select"):
        SequenceWeights.load(tmp_path / "w.npz")


@pytest.mark.parametrize("content", [b"", b"text\n", b"PK\x03\x04 cut off"])
def test_another_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"w\.npz.*\.npz.*lskd select"):
        SequenceWeights.load(tmp_path / "w.npz")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    weights(*range(1, 500)).save(path)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(UserError, match=r"not an \.npz file"):
        SequenceWeights.load(path)


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    np.savez(path, weight=np.array([{}], dtype=object), reference=np.array([True]))
    with pytest.raises(UserError, match=r"weight.*Python objects"):
        SequenceWeights.load(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"weight": np.ones(2, np.float32)}, "found no reference"),
        ({"weight": np.ones(2), "reference": np.ones(2, bool)}, r"found float64 \[2\] and float32 \[2\]"),
        ({"weight": np.ones(2, np.float32), "reference": np.ones(3, bool)}, r"float32 \[2\] and float32 \[3\]"),
        ({"weight": np.ones(2, np.float32), "reference": np.ones(2)}, r"float32 \[2\] and float64 \[2\]"),
        ({"weight": np.ones((2, 1), np.float32), "reference": np.ones((2, 1), bool)}, r"float32 \[2, 1\]"),
    ],
)
def test_arrays_of_wrong_form_are_refused(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(UserError, match=message):
        SequenceWeights.load(tmp_path / "w.npz")


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_an_invalid_weight_is_refused_with_its_sentence(bad: float, tmp_path: Path) -> None:
    weights(0, 1, bad, bad).save(tmp_path / "w.npz")
    with pytest.raises(UserError, match=f"weight of sentence 2 is {bad}"):
        SequenceWeights.load(tmp_path / "w.npz")


@pytest.mark.parametrize("bad", [-0.5, 1.5, np.nan])
def test_a_reference_outside_0_to_1_is_refused_with_its_sentence(bad: float, tmp_path: Path) -> None:
    SequenceWeights(np.ones(3, np.float32), np.array([0, 1, bad], np.float32)).save(tmp_path / "w.npz")
    with pytest.raises(UserError, match=f"`reference` of sentence 2 is {bad}"):
        SequenceWeights.load(tmp_path / "w.npz")


def test_weights_that_are_all_zero_are_refused(tmp_path: Path) -> None:
    weights(0, 0).save(tmp_path / "w.npz")
    with pytest.raises(UserError, match="every weight is 0"):
        SequenceWeights.load(tmp_path / "w.npz")
