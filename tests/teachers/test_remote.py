"""A teacher in another process: the same numbers, and a clean end whichever side ends first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import batch, make_criterion, make_model, make_task, make_trainer

from fairseq_lskd.errors import UserError
from fairseq_lskd.teachers import OnlineTeacher
from fairseq_lskd.teachers.remote import Batch, Input, RemoteTeacher

AHEAD = 2
LIKE = torch.empty(0)


@pytest.fixture(scope="module")
def task(bitext: Path) -> Any:
    return make_task(bitext)


@pytest.fixture(scope="module")
def remote(task: Any, teacher_path: Path) -> Iterator[RemoteTeacher]:
    teacher = RemoteTeacher(str(teacher_path), task, ahead=AHEAD)
    yield teacher
    teacher.close()


@pytest.fixture
def asked(remote: RemoteTeacher, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The requests that are sent to the process from now on."""
    found: list[Any] = []
    ask = remote._ask
    monkeypatch.setattr(remote, "_ask", lambda message: (found.append(message), ask(message)))
    return found


def plan(remote: RemoteTeacher, task: Any, batches: list[list[int]]) -> None:
    remote.read_ahead(task.dataset("train"), batches, LIKE, task.target_dictionary.pad(), 0)


def assert_same(remote: RemoteTeacher, own: OnlineTeacher, task: Any, sample: dict[str, Any]) -> None:
    mask = sample["target"].ne(task.target_dictionary.pad())
    found, wanted = (each.projections(sample["net_input"], LIKE, mask) for each in (remote, own))
    assert len(found) == len(wanted)
    for mine, theirs in zip(found, wanted, strict=True):
        assert torch.equal(mine.hidden, theirs.hidden) and torch.equal(mine.weight, theirs.weight)
        assert (mine.bias is None) == (theirs.bias is None)


def test_what_is_computed_ahead_and_what_is_not_are_the_teachers(
    remote: RemoteTeacher, task: Any, teacher_path: Path, asked: list[Any]
) -> None:
    own = OnlineTeacher.from_checkpoints(str(teacher_path), task)
    assert remote.widths == own.widths
    batches = [[0, 1, 2], [], [3, 4], [5, 6, 7, 8], [9], [10, 11], [12]]
    plan(remote, task, batches)
    assert sum(isinstance(each, Batch) for each in asked) == AHEAD  # no more, until the student has used one
    assert_same(remote, own, task, batch(task, batches[0]))
    assert sum(isinstance(each, Batch) for each in asked) == AHEAD + 1
    assert not any(isinstance(each, Input) for each in asked)
    # Validation in the middle of an epoch is not of the plan, and the plan goes on.
    assert_same(remote, own, task, batch(task, range(4), "valid"))
    assert sum(isinstance(each, Input) for each in asked) == 1
    assert_same(remote, own, task, batch(task, batches[2]))
    # A batch that the trainer leaves out is dropped when its successor is used.
    assert_same(remote, own, task, batch(task, batches[4]))
    assert_same(remote, own, task, batch(task, batches[5]))
    assert sum(isinstance(each, Input) for each in asked) == 1
    # A new epoch drops what is left of the last.
    plan(remote, task, [[20, 21], [22]])
    for ids in ([20, 21], [22]):
        assert_same(remote, own, task, batch(task, ids))
    assert sum(isinstance(each, Input) for each in asked) == 1
    assert_same(remote, own, task, batch(task, [22]))
    assert sum(isinstance(each, Input) for each in asked) == 2


def test_it_does_not_follow_a_student_that_it_cannot_serve(remote: RemoteTeacher, task: Any) -> None:
    sample = batch(task, [1])
    with pytest.raises(UserError, match="--teacher-dtype float32"):
        remote.projections(sample["net_input"], LIKE.half(), sample["target"].ne(1))
    with pytest.raises(UserError, match="--amp"), torch.autocast("cpu", torch.bfloat16):
        remote.projections(sample["net_input"], LIKE, sample["target"].ne(1))
    with pytest.raises(UserError, match="--teacher-process"):
        remote.log_probs(sample["net_input"], LIKE)
    with pytest.raises(UserError, match="--teacher-process"):
        remote.of_pair("de-en")


def losses(bitext: Path, options: dict[str, Any]) -> tuple[list[tuple[str, float]], Any]:
    """The losses of two epochs in fairseq's trainer, with validation after each."""
    task = make_task(bitext)
    criterion = make_criterion(task, "word_kd", **options)
    trainer = make_trainer(bitext, task, make_model(task), criterion, "--max-tokens", "60")
    epoch_itr = trainer.get_train_iterator(1, load_dataset=False)
    found: list[tuple[str, float]] = []
    while epoch_itr.next_epoch_idx <= 2:
        itr = epoch_itr.next_epoch_itr(shuffle=True)
        trainer.begin_epoch(epoch_itr.epoch)
        for sample in itr:
            found.append(("train", trainer.train_step([sample])["loss"]))
        for sample in trainer.get_valid_iterator("valid").next_epoch_itr(shuffle=False):
            found.append(("valid", trainer.valid_step(sample)["loss"]))
    return found, criterion


@pytest.mark.parametrize("schedule", [{}, {"kd_weight_end": 0.0, "kd_schedule": "linear", "kd_schedule_updates": 100}])
def test_a_training_has_the_losses_of_a_teacher_in_its_own_process(
    bitext: Path, teacher_path: Path, schedule: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"teacher_path": str(teacher_path), "kd_weight": 0.7, **schedule}
    inputs: list[Any] = []
    ask = RemoteTeacher._ask
    monkeypatch.setattr(RemoteTeacher, "_ask", lambda self, message: (inputs.append(message), ask(self, message))[1])
    wanted, _ = losses(bitext, options)
    found, criterion = losses(bitext, {**options, "teacher_process": "cpu", "teacher_ahead": 3})
    criterion.teacher.close()
    assert found == wanted and len(found) > 10
    # All training batches were computed ahead, and each once.
    assert sum(isinstance(each, Batch) for each in inputs) == sum(kind == "train" for kind, _ in found)
    # Validation has the weight of the schedule's end. With 0 it needs no teacher.
    validated = 0 if schedule else sum(kind == "valid" for kind, _ in found)
    assert sum(isinstance(each, Input) for each in inputs) == validated


def test_a_teacher_that_does_not_fit_is_refused_as_in_the_students_process(
    bitext: Path, tmp_path: Path, teacher_path: Path, task: Any
) -> None:
    state = torch.load(teacher_path, weights_only=False)
    state["model"]["decoder.output_projection.weight"][5] = torch.nan
    torch.save(state, tmp_path / "broken.pt")
    messages = []
    for kind in (OnlineTeacher.from_checkpoints, RemoteTeacher):
        with pytest.raises(UserError) as caught:
            kind(str(tmp_path / "broken.pt"), task, str(bitext))
        messages.append(str(caught.value))
    assert messages[0] == messages[1] and "broken.pt" in messages[0]


def test_a_teacher_that_is_killed_ends_the_training(task: Any, teacher_path: Path) -> None:
    remote = RemoteTeacher(str(teacher_path), task)
    plan(remote, task, [[0], [1]])
    os.kill(remote._process.pid, signal.SIGKILL)
    remote._process.join()
    sample = batch(task, [2])
    for _ in range(2):
        with pytest.raises(UserError, match=r"--teacher-process.*SIGKILL"):
            remote.projections(sample["net_input"], LIKE, sample["target"].ne(1))


def test_an_error_in_the_process_is_the_students(task: Any, teacher_path: Path) -> None:
    remote = RemoteTeacher(str(teacher_path), task)
    plan(remote, task, [[10**9]])
    sample = batch(task, [2])
    with pytest.raises(UserError, match="--teacher-process cpu: "):
        remote.projections(sample["net_input"], LIKE, sample["target"].ne(1))
    remote._process.join(60)
    assert remote._process.exitcode == 0


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT", "exit", "error"])
def test_the_process_ends_with_the_student(bitext: Path, teacher_path: Path, how: str, tmp_path: Path) -> None:
    script = tmp_path / "student.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from pathlib import Path
        if __name__ == "__main__":
            from tiny import make_task
            import torch
            from fairseq_lskd.teachers.remote import RemoteTeacher
            task = make_task(Path({str(bitext)!r}))
            teacher = RemoteTeacher({str(teacher_path)!r}, task)
            teacher.read_ahead(task.dataset("train"), [[i] for i in range(60)], torch.empty(0), 1, 0)
            print(teacher._process.pid, flush=True)
            if {how!r} == "error":
                raise RuntimeError("of the student")
            time.sleep(0 if {how!r} == "exit" else 600)
        """)
    )
    student = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert student.stdout is not None
    teacher = int(student.stdout.readline())
    if how.startswith("SIG"):
        student.send_signal(getattr(signal, how))
    _, said = student.communicate(timeout=60)
    assert said.count("Traceback") == (how in ("SIGINT", "error"))  # of the student alone
    for _ in range(600):
        if not Path(f"/proc/{teacher}").exists() or "Z" in Path(f"/proc/{teacher}/stat").read_text().split()[2]:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the teacher's process goes on")
