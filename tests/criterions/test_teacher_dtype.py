"""A teacher in another dtype than the student's, and checkpoints in half precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils
from tiny import batch, make_criterion, make_model

from fairseq_lskd.losses import mix_log_probs
from fairseq_lskd.teachers.checkpoint import read_checkpoint

MAPS = Path("/proc/self/maps")


def loss(task: Any, path: Path, **settings: Any) -> tuple[Any, float]:
    criterion = make_criterion(task, "word_kd", teacher_path=str(path), kd_weight=1.0, **settings)
    student = make_model(task).eval()
    found, _, _ = criterion(student, batch(task, range(20)))
    found.backward()
    assert {weight.grad.dtype for weight in student.parameters() if weight.grad is not None} == {torch.float32}
    return criterion, found.item()


@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_teacher_runs_in_the_dtype_of_the_option(task: Any, teacher_path: Path, dtype: str, form: str) -> None:
    criterion, found = loss(task, teacher_path, teacher_dtype=dtype, loss_form=form)
    assert {weight.dtype for weight in criterion.teacher.models[0].parameters()} == {getattr(torch, dtype)}
    _, wanted = loss(task, teacher_path, loss_form=form)
    assert found == pytest.approx(wanted, rel={"float16": 2e-3, "bfloat16": 2e-2, "float32": 0}[dtype])
    assert (found == wanted) == (dtype == "float32")


def test_log_probs_are_those_of_the_rounded_model(task: Any, teacher_path: Path) -> None:
    criterion, _ = loss(task, teacher_path, teacher_dtype="bfloat16")
    sample = batch(task, range(5))
    (model,) = criterion.teacher.models
    with torch.no_grad():
        wanted = model(**sample["net_input"])[0].float().log_softmax(-1)
    found = criterion.teacher.log_probs(sample["net_input"], torch.zeros(1))
    assert found.dtype == torch.float32 and torch.equal(found, mix_log_probs([wanted]))


def test_teacher_dtype_is_refused_with_a_cache(task: Any, teacher_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"--teacher-dtype float16 .*--teacher-cache"):
        make_criterion(task, "word_kd", teacher_cache="cache", teacher_dtype="float16")


def test_a_checkpoint_in_half_precision_teaches_a_student_in_float32(
    task: Any, teacher_path: Path, tmp_path: Path
) -> None:
    """--memory-efficient-fp16 saves weights in float16."""
    state = torch.load(teacher_path, weights_only=True)
    state["model"] = {name: weight.half() for name, weight in state["model"].items()}
    torch.save(state, half := tmp_path / "half.pt")
    criterion, found = loss(task, half)
    assert {weight.dtype for weight in criterion.teacher.models[0].parameters()} == {torch.float32}
    assert found == pytest.approx(loss(task, teacher_path)[1], rel=2e-3)


@pytest.mark.skipif(not MAPS.exists(), reason="only Linux lists the mapped files of a process")
def test_a_checkpoint_is_mapped_not_read(teacher_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither weights nor optimizer state are in memory before they are used."""
    # fairseq's function reads the whole file.
    monkeypatch.setattr(checkpoint_utils, "load_checkpoint_to_cpu", lambda *_, **__: pytest.fail("read whole"))
    state = read_checkpoint(teacher_path)
    assert str(teacher_path) in MAPS.read_text() and len(state["model"]) > 1
