"""Mistakes in options end the command with a message, before training starts."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from tiny import MODEL, TRAIN, make_criterion

ALL = ("label_smoothed_teacher", "word_kd", "seq_kd")
KD = ("word_kd", "seq_kd")


def complaint(task, name, **settings):
    """What is said, without the traceback that an exception would bring."""
    with pytest.raises(SystemExit) as error:
        make_criterion(task, name, **settings)
    message = error.value.code
    assert isinstance(message, str) and message.startswith(f"--criterion {name}: error: ")
    return message


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, float("nan")])
def test_label_smoothing(task, name, value):
    said = complaint(task, name, label_smoothing=value, **({"teacher_path": "none"} if name == "word_kd" else {}))
    assert said.endswith(f"--label-smoothing {value}: expected a number in [0, 1)")


@pytest.mark.parametrize("name", ALL)
def test_ignore_prefix_size(task, name):
    assert "--ignore-prefix-size -1: expected 0 or more" in complaint(task, name, ignore_prefix_size=-1)


@pytest.mark.parametrize("name", KD)
@pytest.mark.parametrize("value", [-0.5, 1.5, float("nan")])
def test_kd_weight(task, name, value):
    assert f"--kd-weight {value}: expected a number in [0, 1]" in complaint(task, name, kd_weight=value)


@pytest.mark.parametrize("name", KD)
@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_kd_temperature(task, name, value):
    assert f"--kd-temperature {value}: expected a number above 0" in complaint(task, name, kd_temperature=value)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_reference_weight(task, value):
    said = complaint(task, "seq_kd", reference_weight=value)
    assert f"--reference-weight {value}: expected a number in [0, 1]" in said and "--sequence-weights" in said


def test_no_teacher(task):
    assert "--teacher-path is missing" in complaint(task, "word_kd")


@pytest.mark.parametrize("name", KD)
def test_a_teacher_that_is_not_there(task, tmp_path, name):
    said = complaint(task, name, teacher_path=f"{tmp_path}/x.pt")
    assert f"no checkpoint at {tmp_path}/x.pt: found nothing" in said


def test_everything_is_said_at_once(task):
    said = complaint(task, "word_kd", label_smoothing=2.0, ignore_prefix_size=-1, kd_weight=1.5, kd_temperature=0.0)
    lines = said.splitlines()[1:]
    flags = ["--label-smoothing", "--ignore-prefix-size", "--kd-weight", "--kd-temperature", "--teacher-path"]
    assert [line.split()[0] for line in lines] == flags


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("limits", [{}, {"label_smoothing": 0.0}, {"label_smoothing": 0.99, "ignore_prefix_size": 5}])
def test_limits_are_allowed(task, teacher_path, name, limits):
    make_criterion(task, name, **({"teacher_path": str(teacher_path)} if name == "word_kd" else {}), **limits)


@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("temperature", [1e-3, 1e3])
def test_limits_of_distillation_are_allowed(task, teacher_path, weight, temperature):
    for name in KD:
        settings = {"kd_weight": weight, "kd_temperature": temperature}
        assert make_criterion(task, name, teacher_path=str(teacher_path), **settings).teacher is not None


MISTAKES = {
    "label_smoothed_teacher": (["--label-smoothing", "1"], ["--label-smoothing 1.0"]),
    "word_kd": (
        ["--kd-temperature", "0", "--kd-weight", "1.5"],
        ["--kd-temperature 0.0", "--kd-weight 1.5", "--teacher-path is missing"],
    ),
    "seq_kd": (["--teacher-path", "nowhere.pt"], ["no checkpoint at nowhere.pt"]),
}


@pytest.mark.e2e
@pytest.mark.parametrize("name", ALL)
def test_command_ends_with_a_message_and_a_status(bitext, tmp_path, name):
    flags, messages = MISTAKES[name]
    script = Path(sysconfig.get_path("scripts"), "fairseq-train")
    start = [str(script)] if script.exists() else [sys.executable, "-m", "fairseq_cli.train"]
    plugin = Path(__file__).resolve().parents[2] / "fairseq_lskd"
    words = [bitext, "--user-dir", plugin, *MODEL, *TRAIN, "--criterion", name, "--save-dir", tmp_path, *flags]
    done = subprocess.run([*start, *map(str, words)], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in said, said[-2000:]
    assert f"--criterion {name}: error: " in done.stderr
    for message in messages:
        assert message in done.stderr
