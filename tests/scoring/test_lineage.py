"""Whose student a model is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairseq_lskd.scoring.lineage import compared_types, teachers_of


def made(*command: str, **inputs: str) -> dict[str, Any]:
    return {"command": ["fairseq-train", "bin", *command], "inputs": inputs}


def test_the_teachers_beside_a_student() -> None:
    record = made("--teacher-path", "b.pt:a.pt", **{"a.pt": "1", "b.pt": "2", "data/encode.json": "3"})
    assert teachers_of(record) == ["1", "2"]


def test_the_one_that_wrote_the_cache_and_the_one_that_translated(tmp_path: Path) -> None:
    (tmp_path / "cache.json").write_text(json.dumps({"teachers": {"teacher 1": "1", "teacher 2": "2"}}))
    (tmp_path / "select.json").write_text(json.dumps({"translations": {"run": {"teacher": ["3"]}}}))
    weights = ["--sequence-weights", str(tmp_path / "train.weights.npz")]
    assert teachers_of(made("--teacher-cache", str(tmp_path))) == ["1", "2"]
    assert teachers_of(made(*weights)) == ["3"]
    assert teachers_of(made(*weights, "--teacher-path", "a.pt", **{"a.pt": "3"})) == ["3"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"translations": null}', '{"translations": {"run": {"teacher": 3}}}']
)
def test_what_is_not_known(text: str, tmp_path: Path) -> None:
    (tmp_path / "select.json").write_text(text)
    assert teachers_of(made("--sequence-weights", str(tmp_path / "w.npz"))) == []
    assert teachers_of(made("--sequence-weights", "gone/w.npz")) == []
    assert teachers_of(made()) == []


def test_how_many_types_are_compared(tmp_path: Path) -> None:
    (tmp_path / "cache.json").write_text(json.dumps({"options": {"--top-k": 16}}))
    cached = ["--teacher-cache", str(tmp_path)]
    assert compared_types(["fairseq-train", *cached]) == 16
    assert compared_types(["fairseq-train", *cached, "--kd-top-k", "4"]) == 4
    assert compared_types(["fairseq-train", "--kd-top-k=8"]) == 8
    # All of them, or a cache that is gone.
    assert compared_types(["fairseq-train"]) is None
    assert compared_types(["fairseq-train", "--teacher-cache", "gone"]) is None
