"""Options of a teacher in a process of its own. What the process does is in tests/teachers/test_remote.py."""

from typing import Any

import pytest
from tiny import make_criterion


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"teacher_process": "tpu"}, ("--teacher-process tpu", "cpu")),
        ({"teacher_process": "nothing"}, ("--teacher-process nothing", "cpu")),
        ({"teacher_process": "cpu", "teacher_ahead": 0}, ("--teacher-ahead 0", "1 or more")),
        ({"teacher_process": "cpu", "loss_form": "plain"}, ("--teacher-process cpu", "--loss-form plain")),
        ({"teacher_process": "cpu", "teacher_cache": "cache"}, ("--teacher-process cpu", "--teacher-cache")),
        ({"teacher_process": "cpu", "teacher_path": None}, ("--teacher-path",)),
    ],
)
def test_mistakes(task: Any, teacher_path: Any, options: dict[str, Any], facts: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        make_criterion(task, "word_kd", **{"teacher_path": str(teacher_path), **options})
    assert all(fact in str(caught.value.code) for fact in facts)


def test_a_gpu_that_is_not_there(task: Any, teacher_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"--teacher-process cuda:1.*no GPU"):
        make_criterion(task, "word_kd", teacher_path=str(teacher_path), teacher_process="cuda:1")


def test_it_is_one_teacher(task: Any) -> None:
    with pytest.raises(SystemExit, match="--teacher-process cpu runs one teacher"):
        make_criterion(task, "word_kd", teacher_path="de-en=a.pt", teacher_process="cpu")
