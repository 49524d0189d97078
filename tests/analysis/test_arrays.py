"""Tests of reading saved outputs of a classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fairseq_lskd.analysis.arrays import load_npz
from fairseq_lskd.errors import UserError

LOGITS = np.array([[1.0, 2, 3], [0, 0, 0], [5, 1, 1], [2, 2, 1]])
GOOD = {
    "logits": LOGITS,
    "labels": np.array([2, 0, 0, 1]),
    "features": np.ones((4, 5), dtype=np.float16),
    "output_matrix": np.zeros((3, 5)),
    "output_bias": np.zeros(3),
    "split": np.array(["train", "valid", "train", "valid"]),
    "label_smoothing": 0.1,
    "classes": np.array(["cat", "dog", "cow"]),
}
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)


def save(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "mine.npz", **arrays)
    return folder / "mine.npz"


def without(*names: str, **more: Any) -> dict[str, Any]:
    return {name: value for name, value in (GOOD | more).items() if name not in names}


def test_everything_is_read(tmp_path: Path) -> None:
    found = load_npz(save(tmp_path, **GOOD, other=np.zeros(2)))
    assert found.name == "mine" and found.classes == 3 and found.splits == ["train", "valid"]
    np.testing.assert_allclose(found.probs.numpy(), PROBS, rtol=1e-6)
    assert found.labels.tolist() == [2, 0, 0, 1] and found.labels.dtype == torch.int64
    assert found.features is not None and found.features.dtype == torch.float32
    assert found.output_matrix is not None and found.output_matrix.shape == (3, 5)
    assert found.output_bias is not None and found.output_bias.shape == (3,)
    assert found.smoothing == 0.1 and found.names == ("cat", "dog", "cow") and found.called == "LS 0.1"


def test_probabilities_in_place_of_logits(tmp_path: Path) -> None:
    found = load_npz(save(tmp_path, probs=PROBS.astype(np.float16), labels=GOOD["labels"]))
    np.testing.assert_allclose(found.probs.numpy(), PROBS, atol=1e-3)
    torch.testing.assert_close(found.probs.sum(1), torch.ones(4))
    assert found.features is None and found.splits == []
    assert found.smoothing is None and found.names is None and found.called == "mine"
    assert load_npz(save(tmp_path, probs=np.eye(3), labels=np.arange(3))).probs.tolist() == np.eye(3).tolist()


def test_one_split(tmp_path: Path) -> None:
    found = load_npz(save(tmp_path, **GOOD)).of_split("valid")
    assert found.labels.tolist() == [0, 1] and found.splits == ["valid"]
    assert found.features is not None and len(found.features) == len(found.log_probs) == 2
    with pytest.raises(UserError, match=r"mine: .*the split 'test'; expected one of valid"):
        found.of_split("test")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (without("labels"), "found no labels"),
        (without("logits"), "found neither logits nor probs, expected one of them"),
        (without(probs=PROBS), "found both logits and probs"),
        (without("output_matrix"), "only one of features and output_matrix"),
        (without(logits=np.zeros(4)), r"logits has the shape \[4\], expected \[examples, classes\]"),
        (without(logits=np.zeros((0, 3))), r"logits has the shape \[0, 3\]"),
        (without(logits=np.zeros((4, 2))), "logits: found two classes, expected at least three"),
        (without(labels=np.zeros(3, dtype=int)), r"labels has the shape \[3\], expected \[4\] to match logits"),
        (without(output_matrix=np.zeros((3, 4))), r"output_matrix has the shape \[3, 4\], expected \[3, 5\]"),
        (without(split=np.array(["train"])), r"split has the shape \[1\], expected \[4\]"),
        (without(labels=np.array([0, 1, 2, 3])), "labels are from 0 to 3, expected 0 to 2"),
        (without(labels=np.array([0, 1, 2, -1])), "labels are from -1 to 2"),
        (without(labels=np.array([0.0, 1, 2, 2])), "labels have the dtype float64, expected integers"),
        (without(split=np.arange(4)), "split has the dtype int64, expected strings"),
        (without(classes=np.arange(3)), "classes has the dtype int64, expected strings"),
        (without(classes=np.array(["a", "b"])), r"classes has the shape \[2\], expected \[3\] to match logits"),
        (without(classes=np.array(["a", "b", "a"])), "classes has duplicate names"),
        (without(label_smoothing=np.array([0.1])), r"label_smoothing has the shape \[1\], expected a single number"),
        (without(label_smoothing=1.0), r"label_smoothing is 1, expected a number in \[0, 1\)"),
        (without(label_smoothing=-0.1), r"label_smoothing is -0.1, expected a number in \[0, 1\)"),
        (without(label_smoothing=np.nan), "label_smoothing is nan"),
        (without(label_smoothing="0.1"), "label_smoothing has the dtype <U3, expected real numbers"),
        (without(logits=LOGITS.astype(complex)), "logits has the dtype complex128, expected real numbers"),
        (
            without(logits=np.where(LOGITS == 5, np.nan, LOGITS)),
            r"logits has NaN or infinity in 1 of 4 rows, first in row 2 \(counted from 0\)",
        ),
        (without(features=np.full((4, 5), np.inf)), "features has NaN or infinity in 4 of 4 rows, first in row 0"),
        (
            without("logits", probs=PROBS * 2),
            "probs does not sum to 1 in 4 of 4 rows, first in row 0, which sums to 2: ",
        ),
        (without("logits", probs=np.log(PROBS)), "probs has negative values .* logits or log-probabilities"),
        (without(logits=np.array([[None, 1, 2]])), "logits: it holds Python objects, which are not read"),
    ],
)
def test_mistakes_are_named(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_npz(save(tmp_path, **arrays))
    assert str(caught.value).startswith(f"{tmp_path / 'mine.npz'}: ")


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_npz(save(tmp_path, **without(labels=np.full(4, 7), split=np.arange(4), features=np.full((4, 5), np.nan))))
    assert len(str(caught.value).splitlines()) == 3


def test_invalid_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.npz: cannot be read \(No such file"):
        load_npz(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("logits")
    with pytest.raises(UserError, match=r"text\.npz: not an \.npz file"):
        load_npz(tmp_path / "text.npz")
    (tmp_path / "cut.npz").write_bytes(save(tmp_path, **GOOD).read_bytes()[:-200])
    with pytest.raises(UserError, match=r"cut\.npz: not an \.npz file"):
        load_npz(tmp_path / "cut.npz")
    np.save(tmp_path / "one.npy", LOGITS)
    with pytest.raises(UserError, match=r"one\.npy: a single array, expected an \.npz file"):
        load_npz(tmp_path / "one.npy")
