"""Tests of studies of saved outputs, and of `lskd analyze --from-npz`."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from analysis_reference import intra_class_variance

from fairseq_lskd.analysis.saved import Request, Saved
from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError

CLASSES, DIM = 4, 3


def outputs(sharp: float = 3.0, seed: int = 1, examples: int = 120, **more: Any) -> dict[str, Any]:
    """Write the outputs of a linear classifier on clusters. All files have the same labels."""
    labels = np.arange(examples) % CLASSES
    rng = np.random.default_rng(seed)
    matrix = np.random.default_rng(0).standard_normal((CLASSES, DIM))
    features = matrix[labels] + 0.6 * rng.standard_normal((examples, DIM))
    split = np.where(np.arange(examples) < examples // 3, "train", "valid")
    found = {"logits": sharp * features @ matrix.T, "labels": labels, "split": split}
    return {**found, "features": features, "output_matrix": sharp * matrix, **more}


def write(folder: Path, name: str, drop: tuple[str, ...] = (), **arrays: Any) -> Path:
    path = folder / f"{name}.npz"
    np.savez(path, **{key: value for key, value in outputs(**arrays).items() if key not in drop})
    return path


def study(*paths: Path, **options: Any) -> Saved:
    found = Saved(Request(from_npz=list(paths), **options))
    found.load()
    return found


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Files with label smoothing 0.1 and 0, in this order."""
    smoothed = write(tmp_path, "b", sharp=1.0, label_smoothing=0.1, classes=np.array(["ant", "bee", "cat", "dog"]))
    return smoothed, write(tmp_path, "a", seed=2, label_smoothing=0.0)


def test_numbers_match_naive_loops(pair: tuple[Path, Path]) -> None:
    mine = study(*pair)
    found = mine.findings(mine.measure())
    assert [teacher.name for teacher in found.teachers] == ["LS 0", "LS 0.1"]  # the least smoothed first
    for teacher, path in zip(found.teachers, pair[::-1], strict=True):
        with np.load(path) as arrays:
            keep = arrays["split"] == "valid"
            probs = torch.tensor(arrays["logits"][keep]).softmax(-1)
            labels = torch.tensor(arrays["labels"][keep])
        assert teacher.stability.value == pytest.approx(intra_class_variance(probs, labels, 5), abs=1e-6)
        assert teacher.quality.values["accuracy"] == (probs.argmax(1) == labels).double().mean().item()
        nll = -probs[torch.arange(len(labels)), labels].log().mean().item()
        assert teacher.quality.values["nll"] == pytest.approx(nll, rel=1e-6)
        # Every example is resampled on its own.
        assert teacher.measurement.tokens.unit.tolist() == list(range(80))
        assert [(cloud.split, len(cloud.points)) for cloud in teacher.clouds] == [("train", 30), ("valid", 60)]
        assert teacher.looks is None
    assert found.symbols == ("ant", "bee", "cat", "dog") and found.split == "valid"


def test_files_without_splits_features_and_names(tmp_path: Path) -> None:
    drop = ("split", "features", "output_matrix")
    mine = study(write(tmp_path, "x", drop), write(tmp_path, "y", drop, seed=2))
    found = mine.findings(mine.measure())
    assert [teacher.name for teacher in found.teachers] == ["x", "y"] and found.smoothings == []
    assert len(found.teachers[0].measurement.tokens) == 120 and found.split == "all examples"
    assert found.symbols[0] == "class 0" and found.teachers[0].clouds == ()
    assert {claim.says: claim.measured for claim in found.judged[0]}[
        "Similar classes move apart, relative to the size of their clusters"
    ] == "no penultimate activations: the file has no features and output_matrix"


def test_templates_on_one_line_have_no_projection(tmp_path: Path) -> None:
    mine = study(write(tmp_path, "x", output_matrix=np.ones((CLASSES, DIM))))
    (teacher,) = mine.findings(mine.measure()).teachers
    assert teacher.clouds == () and "lie on one line" in (teacher.why_no_clouds or "")
    assert teacher.centres is not None


def test_a_probability_of_zero_counts_as_the_smallest_normal_number(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    probs = np.eye(CLASSES)[(np.arange(120) + (np.arange(120) == 119)) % CLASSES]  # one-hot, and wrong once
    mine = study(write(tmp_path, "x", ("logits",), probs=probs))
    (teacher,) = mine.findings(mine.measure()).teachers
    assert teacher.quality.values["nll"] == pytest.approx(-math.log(2**-126) / 80)
    assert "x: the label has probability 0 in 1 examples, which counts as 1.2e-38" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"examples": 60}, "found 60 examples, expected 120 as in {first}"),
        (
            {"labels": np.roll(np.arange(120) % CLASSES, 1)},
            "120 labels differ, first in example 0 (counted from 0): found 3, expected 0 as in {first}",
        ),
        ({"logits": np.zeros((120, 5)), "output_matrix": np.zeros((5, DIM))}, "found 5 classes, expected 4 as in"),
        ({"classes": np.array(["a", "b", "c", "e"])}, "the names of the classes differ from those in {first}"),
    ],
)
def test_files_of_other_examples_are_refused(tmp_path: Path, other: dict[str, Any], said: str) -> None:
    first = write(tmp_path, "first", ("split",), classes=np.array(["a", "b", "c", "d"]))
    second = write(tmp_path, "second", ("split",), **other)
    with pytest.raises(UserError) as caught:
        study(first, second)
    assert str(caught.value).startswith(f"{second}: {said.format(first=first)}")


def test_other_mistakes(tmp_path: Path) -> None:
    path = write(tmp_path, "x")
    with pytest.raises(UserError, match=r"x: .*the split 'test'; expected one of train, valid"):
        study(path, split="test")
    with pytest.raises(UserError, match=r"--types a,b,class 1: 'a' is not a class.* class 0, class 1, class"):
        study(path, types="a,b,class 1")
    with pytest.raises(UserError, match=r"x has no output embeddings .the file has no features and output_matrix"):
        study(write(tmp_path, "x", ("features", "output_matrix")), similar_by="embedding")
    with pytest.raises(UserError) as caught:
        study(write(tmp_path, "y", ("labels",)), write(tmp_path, "z", ("logits",)))
    assert len(str(caught.value).splitlines()) == 2


CODE = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("fairseq", "sacrebleu", "omegaconf", "hydra"):
            raise ImportError(name + " is not installed")
sys.meta_path.insert(0, Missing())
from fairseq_lskd.cli import main
sys.exit(main(sys.argv[1:]))
"""


class TestCommand:
    """`lskd analyze --from-npz`."""

    def test_the_report_without_fairseq(self, pair: tuple[Path, Path], tmp_path: Path) -> None:
        argv = ["analyze", *(f"--from-npz={path}" for path in pair), "--out", str(tmp_path / "out")]
        argv += ["--types", "ant,bee,dog"]
        done = subprocess.run([sys.executable, "-c", CODE, *argv], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "80 examples; 4 of 4 classes have at least 5\n" in done.stderr
        out = tmp_path / "out"
        page = (out / "report.html").read_text(encoding="utf-8")
        for word in ("token type", "sentence", "Mutual information", "dropout", "diffusion", "--student", "occurrence"):
            assert word not in page, word
        numbers = json.loads((out / "numbers.json").read_text())
        assert [section["title"] for section in numbers["sections"]] == [
            "The answer",
            "Erased information",
            "Mean class distributions",
            "Three classes in the penultimate layer",
            "Calibration",
            "The smoothed loss",
            "How it was measured",
        ]
        with (out / "tables/projection-points.csv").open() as stream:
            assert {row["class"] for row in csv.DictReader(stream)} == {"ant", "bee", "dog"}
        with (out / "tables/claims.csv").open() as stream:
            claims = list(csv.DictReader(stream))
        assert len(claims) == 7 and {row["verdict"] for row in claims} <= {"held", "not held", "undecided"}

    def test_it_is_up_to_date_until_a_file_changes(
        self, pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        argv = ["analyze", *(f"--from-npz={path}" for path in pair), "--out", str(tmp_path / "out")]
        assert main(argv) == 0 and main(argv) == 0
        assert capsys.readouterr().err.endswith(f"{tmp_path / 'out'}: up to date\n")
        write(tmp_path, "a", seed=3, label_smoothing=0.0)
        with pytest.raises(
            SystemExit, match=r"was created with different options or inputs:\n  input from-npz 2: a\.npz: SHA-256 "
        ):
            main(argv)
