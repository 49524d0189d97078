"""Labels about a teacher are compared with its checkpoint before its student is trained."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.files import sha256
from fairseq_lskd.records.teacher_labels import check_teacher_labels

TEACHER = "teacher/checkpoint_last.pt"
WORD = ["fairseq-train", "bin", "--criterion", "word_kd"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, teacher_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a teacher of size large and label smoothing 0.1."""
    monkeypatch.chdir(tmp_path)
    state = torch.load(teacher_path, weights_only=True)
    state["cfg"]["criterion"] = {"_name": "label_smoothed_teacher", "label_smoothing": 0.1}
    Path("teacher").mkdir()
    torch.save(state, TEACHER)
    made = {"command": ["fairseq-train"], "inputs": {}, "labels": {"role": "teacher", "size": "large"}}
    Path("teacher/run.json").write_text(json.dumps(made))


def leads(how: str) -> list[str]:
    """Return a training command that leads to the teacher."""
    if how == "path":
        return [*WORD, "--teacher-path", TEACHER]
    Path("folder/bin").mkdir(parents=True)
    if how == "cache":
        manifest: dict[str, Any] = {"teachers": {"teacher 1": sha256(TEACHER)}, "teacher_path": TEACHER}
        Path("folder/cache.json").write_text(json.dumps(manifest))
        return [*WORD, "--teacher-cache", "folder"]
    manifest = {"translations": {"run": {"teacher": [sha256(TEACHER)]}, "teacher_path": TEACHER}}
    Path("folder/select.json").write_text(json.dumps(manifest))
    return ["fairseq-train", "folder/bin", "--criterion", "seq_kd"]


@pytest.mark.parametrize("how", ["path", "cache", "translations"])
def test_labels_that_contradict_the_teacher_are_refused(how: str) -> None:
    command = leads(how)
    check_teacher_labels(command, {"teacher_smoothing": "0.10", "teacher_size": "large"})
    with pytest.raises(UserError) as caught:
        check_teacher_labels(command, {"teacher_smoothing": 0.2, "teacher_size": "small"})
    said = str(caught.value)
    assert "--teacher-smoothing 0.2 (label teacher_smoothing): the teacher has 0.1" in said
    assert "--teacher-size small (label teacher_size): the teacher has large" in said


@pytest.mark.parametrize(
    ("command", "labels"),
    [
        ([*WORD, "--teacher-path", "missing.pt"], {"teacher_smoothing": 0.2}),
        ([*WORD, "--teacher-path", TEACHER], {"role": "teacher", "teacher_smoothing": 0.2}),
        ([*WORD, "--teacher-path", TEACHER], {"size": "small"}),
        (["fairseq-train"], {"teacher_smoothing": 0.2}),
        (["my-program", "--teacher-path", TEACHER], {"teacher_smoothing": 0.2}),
    ],
)
def test_what_cannot_be_compared_is_not_refused(command: list[str], labels: dict[str, Any]) -> None:
    check_teacher_labels(command, labels)


def test_the_training_does_not_start() -> None:
    Path("fairseq-train").write_text("#!/bin/sh\ntouch started\n")
    Path("fairseq-train").chmod(0o755)
    command = ["./fairseq-train", *WORD[1:], "--teacher-path", TEACHER]
    with pytest.raises(SystemExit, match=r"teacher_smoothing\): the teacher has 0.1"):
        main(["run", "--out", "run", "--label", "teacher_smoothing=0", "--", *command])
    assert not Path("started").exists() and not Path("run").exists()


@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
def test_scripts_call_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "mine.sh", TEACHER, "teacher_smoothing=0.1"])
    runpy.run_module("fairseq_lskd.records.teacher_labels", run_name="__main__")
    sys.argv[-1] = "teacher_smoothing=0.3"
    with pytest.raises(SystemExit, match=r"mine.sh: error: --teacher-smoothing 0.3"):
        runpy.run_module("fairseq_lskd.records.teacher_labels", run_name="__main__")
