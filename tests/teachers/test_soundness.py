"""Teachers with invalid weights or probabilities are refused before a student is trained."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import batch, make_criterion, make_model, save

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.teachers import OnlineTeacher
from fairseq_lskd.teachers.alone import load_teacher
from fairseq_lskd.teachers.average import average_checkpoints
from fairseq_lskd.teachers.soundness import check_log_probs, check_weights

BROKEN = [math.nan, math.inf, 1e30]


@pytest.fixture
def broken(bitext: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A checkpoint in which all weights that the model uses have the same value."""
    path = save(tmp_path / "broken.pt", bitext)
    state = torch.load(path, weights_only=False)
    for name, weight in state["model"].items():
        if not name.endswith(("version", "_float_tensor")):
            weight.fill_(request.param)
    torch.save(state, path)
    for name in ("dict.de.txt", "dict.en.txt"):
        (tmp_path / name).write_bytes((bitext / name).read_bytes())
    return path


@pytest.mark.parametrize("broken", BROKEN, indirect=True)
def test_a_broken_teacher_is_refused_when_it_is_loaded(broken: Path, bitext: Path, task: Any, tmp_path: Path) -> None:
    """In word_kd, load_teacher (used by translate and export), the commands translate and cache, and average."""
    with pytest.raises(SystemExit) as caught:
        make_criterion(task, "word_kd", teacher_path=str(broken))
    assert f"{broken} has weights that are" in str(caught.value.code)
    with pytest.raises(UserError, match=r"broken\.pt has weights that are"):
        load_teacher(str(broken))
    words = ["--teacher-path", str(broken), "--out", str(tmp_path / "out")]
    for command in (["translate", str(bitext), "--device", "cpu"], ["cache", str(bitext), "--cpu", "--top-k", "4"]):
        with pytest.raises(SystemExit) as caught:
            main([*command, *words])
        assert "broken.pt has weights that are" in str(caught.value.code)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]
    with pytest.raises(UserError, match=r"broken\.pt has weights that are"):
        average_checkpoints([broken])


@pytest.mark.parametrize("value", BROKEN)
def test_the_weight_is_named_and_unused_weights_are_not_checked(value: float) -> None:
    good = {"a": torch.ones(2), "decoder.version": torch.tensor([math.nan]), "counter": torch.ones(1, dtype=torch.long)}
    check_weights("x.pt", good)
    with pytest.raises(UserError, match=r"x\.pt has .* in b and 1 more"):
        check_weights("x.pt", {**good, "b": torch.tensor([1.0, value]), "c": torch.tensor([value])})


@pytest.mark.parametrize("row", [[math.nan, 0.0], [-math.inf, -math.inf], [0.0, 0.0], [math.inf, 0.0]])
def test_invalid_distributions(row: list[float]) -> None:
    check_log_probs("x.pt", torch.tensor([[0.5, 0.5], [1.0, 0.0]]).log())
    with pytest.raises(UserError, match=r"the teacher x\.pt has invalid probabilities"):
        check_log_probs("x.pt", torch.tensor([[0.5, 0.5], row]))


@pytest.mark.parametrize("form", ["fused", "plain"])
def test_a_teacher_that_overflows_in_the_students_dtype_is_refused_at_the_first_batch(
    task: Any, teacher_path: Path, form: str
) -> None:
    """Weights that overflow float16 are valid in float32."""
    criterion = make_criterion(task, "word_kd", teacher_path=str(teacher_path), loss_form=form)
    good = batch(task, range(4))
    criterion(make_model(task), good)
    layer = criterion.teacher.models[0].decoder.output_projection
    teacher = OnlineTeacher(criterion.teacher.models, [str(teacher_path)])
    criterion.teacher = teacher
    with torch.no_grad():
        layer.weight.fill_(math.inf)  # as float16 makes of 1e5
    with pytest.raises(SystemExit) as caught:
        criterion(make_model(task), good)
    assert f"the teacher {teacher_path} has invalid probabilities" in str(caught.value.code)
