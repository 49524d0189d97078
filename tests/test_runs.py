"""Recorded runs of commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fairseq_lskd import __version__
from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.files import sha256
from fairseq_lskd.runs import RECORD, labels_of, read_labels, run, trains_longer


def python(code: str, *words: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, words)]


def counting(out: Path, status: int = 0) -> list[str]:
    """A command that adds a letter to a file in its folder (like a checkpoint of a training), and then ends."""
    return python("import sys; open(sys.argv[1], 'a').write('x'); sys.exit(int(sys.argv[2]))", out / "kept", status)


def record(out: Path) -> dict:
    return json.loads((out / RECORD).read_text(encoding="utf-8"))


def lskd_run(out: Path, *command: str) -> subprocess.Popen:
    """Start `lskd run` in a new session, so that a signal does not reach other processes."""
    words = [sys.executable, "-m", "fairseq_lskd.cli", "run", "--out", str(out), "--", *command]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)


def waiting(flag: Path) -> list[str]:
    """A command that writes its process id to a file, and waits for the file `go` beside it."""
    return python(
        "import os, pathlib, sys, time; flag = pathlib.Path(sys.argv[1])\n"
        "flag.with_suffix('.part').write_text(str(os.getpid())); flag.with_suffix('.part').rename(flag)\n"
        "while not flag.with_name('go').exists(): time.sleep(0.02)",
        flag,
    )


def test_commands_beside_this_python_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "bin" / "my-command"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\necho found")
    command.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(command.with_name("python")))
    run(["my-command"], tmp_path / "out")
    assert (tmp_path / "out" / "log.txt").read_text() == "found\n"


def until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def lives(process: int) -> bool:
    """Return whether a process is running. Zombies are not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_finished_run_is_recorded_and_logged(tmp_path: Path) -> None:
    out, given = tmp_path / "a" / "run", tmp_path / "given"
    given.write_text("text")
    command = python("import sys; print('to stdout'); print('Grüße \\u2028', file=sys.stderr)")
    run(command, out, inputs=[given], labels={"role": "student", "temperature": 2.0})
    assert sorted((out / "log.txt").read_text(encoding="utf-8").split("\n")) == ["", "Grüße \u2028", "to stdout"]
    found = record(out)
    assert found["finished"].endswith("+00:00")
    assert 0 <= found.pop("seconds") < 60 and found.pop("finished")
    assert found == {
        "command": command,
        "inputs": {str(given): sha256(given)},
        "labels": {"role": "student", "temperature": 2.0},
        "lskd": __version__,
        "files": ["log.txt", RECORD],
    }
    assert sorted(path.name for path in out.iterdir()) == ["log.txt", RECORD]


def test_a_finished_run_is_not_run_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run(counting(tmp_path), tmp_path)
    before = record(tmp_path)
    capsys.readouterr()
    run(counting(tmp_path), tmp_path, title="the run")
    assert (tmp_path / "kept").read_text() == "x"
    assert capsys.readouterr().err == f"the run | up to date: {tmp_path}\n"
    assert record(tmp_path) == before


def test_a_run_whose_checkpoints_are_gone_is_run_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Also if they were in another folder, and not if some are left."""
    saved, out = tmp_path / "saved", tmp_path / "out"
    saved.mkdir()
    code = "import sys; [open(f'{sys.argv[2]}/checkpoint{n}.pt', 'a').write('x') for n in (1, 2)]"
    command = python(code, "--save-dir", saved)
    run(command, out)
    assert record(out)["checkpoints"] == ["checkpoint1.pt", "checkpoint2.pt"]
    (saved / "checkpoint1.pt").unlink()
    run(command, out)
    assert not (saved / "checkpoint1.pt").exists()
    (saved / "checkpoint2.pt").unlink()
    run(command, out, labels={"role": "student"})
    assert not (saved / "checkpoint2.pt").exists() and record(out)["labels"] == {"role": "student"}
    capsys.readouterr()
    run(command, out, labels={"role": "student"})
    assert f"out | trains again: the checkpoints in {saved} are gone\n" in capsys.readouterr().err
    assert (saved / "checkpoint2.pt").read_text() == "x" and record(out)["finished"]
    assert (out / "log.txt.1").is_file()


def test_a_leftover_temporary_record_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".run.json.0123abcd.part").write_text("{")
    run(counting(tmp_path), tmp_path)
    assert record(tmp_path)["finished"] and (tmp_path / "kept").read_text() == "x"
    assert not list(tmp_path.glob(".*"))


def test_a_later_end_continues_the_run_and_both_commands_are_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    short, long = ([*counting(tmp_path), "--max-update", str(updates)] for updates in (100, 300))
    run(short, tmp_path)
    first = record(tmp_path)
    run(long, tmp_path)
    assert (tmp_path / "kept").read_text() == "xx" and (tmp_path / "log.txt.1").is_file()
    said = capsys.readouterr().err
    assert "--max-update 100" in said and "--max-update 300" in said
    found = record(tmp_path)
    assert found["command"] == long and found["finished"] and found["seconds"] >= first["seconds"]
    assert found["earlier"] == [{name: first[name] for name in ("command", "seconds", "finished")}]
    run(long, tmp_path)
    assert (tmp_path / "kept").read_text() == "xx" and record(tmp_path) == found
    with pytest.raises(UserError, match=r"contains another run.*--max-update 300.*--max-update 100"):
        run(short, tmp_path)


def test_a_later_end_says_so_if_the_checkpoints_are_gone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    saved, out = tmp_path / "saved", tmp_path / "out"
    saved.mkdir()
    command = python("import sys; open(f'{sys.argv[2]}/checkpoint.pt', 'a').write('x')", "--save-dir", saved)
    run([*command, "--max-update", "1"], out)
    (saved / "checkpoint.pt").unlink()
    run([*command, "--max-update", "2"], out, labels={"role": "student"})
    assert f"out | trains again: the checkpoints in {saved} are gone\n" in capsys.readouterr().err
    assert (saved / "checkpoint.pt").read_text() == "x"
    assert record(out)["finished"] and "earlier" not in record(out)


def test_a_later_end_of_other_inputs_is_another_run(tmp_path: Path) -> None:
    given, out = tmp_path / "given", tmp_path / "run"
    given.write_text("one")
    run([*counting(out), "--max-update", "1"], out, inputs=[given])
    given.write_text("two")
    with pytest.raises(UserError, match="given had other contents"):
        run([*counting(out), "--max-update", "2"], out, inputs=[given])


@pytest.mark.parametrize(
    ("old", "new", "longer"),
    [
        ("--max-update 9", "--max-update 10", True),
        ("--max-update=9 --lr 1", "--lr 1 --max-update=10", True),
        # The last value counts. 0, or no option, is no limit.
        ("--max-update 9", "--max-update 9 --max-update 20", True),
        ("--max-update 9", "--max-update 20 --max-update 9", False),
        ("--max-update 9", "--max-update 0", True),
        ("--max-update 9", "", True),
        ("--max-epoch 3", "--max-epoch 4", True),
        ("--max-epoch 3 --max-update 9", "--max-epoch 4 --max-update 8", False),
        ("--max-update 9", "--max-update 8", False),
        ("--max-update 9", "--max-update many", False),
        ("--max-update 9 --lr 1", "--max-update 10 --lr 2", False),
        ("--patience 3", "--patience 5", True),
        ("--patience 3", "--patience -1", True),
        ("--patience -1", "--patience 3", False),
        ("--max-update 9 --lr-scheduler cosine", "--max-update 10 --lr-scheduler cosine", False),
    ],
)
def test_trains_longer(old: str, new: str, longer: bool) -> None:
    assert trains_longer(["fairseq-train", *old.split()], ["fairseq-train", *new.split()]) is longer


def test_new_labels_are_recorded_without_a_run(tmp_path: Path) -> None:
    run(counting(tmp_path), tmp_path, labels={"role": "teacher"})
    run(counting(tmp_path), tmp_path, labels={"role": "student"})
    assert (tmp_path / "kept").read_text() == "x"
    assert record(tmp_path)["labels"] == {"role": "student"}


def test_an_unfinished_run_is_resumed_and_its_seconds_are_summed(tmp_path: Path) -> None:
    code = "import os, sys, time; time.sleep(0.3); old = os.path.exists(sys.argv[1]); open(sys.argv[1], 'a').write('x')"
    command = python(f"{code}; sys.exit(not old)", tmp_path / "kept")
    with pytest.raises(UserError, match="ended with status 1"):
        run(command, tmp_path)
    first = record(tmp_path)
    assert first["finished"] is None and first["seconds"] >= 0.3
    run(command, tmp_path)
    second = record(tmp_path)
    assert second["finished"] and second["seconds"] >= first["seconds"] + 0.3
    assert (tmp_path / "kept").read_text() == "xx"


@pytest.mark.parametrize(
    ("words", "others", "message"),
    [
        (["--lr", "1", "--seed", "2"], ["--lr", "3", "--seed", "2"], "command has --lr 1, this one has --lr 3. "),
        (
            ["--lr", "1", "--seed", "2"],
            ["--lr", "2", "--seed", "1"],
            "has --lr 1 --seed 2, this one has --lr 2 --seed 1. ",
        ),
        (["--lr", "1", "-v", "--seed", "2"], ["--lr", "3", "-v", "--seed", "4"], "; its command has --seed 2, this"),
        (["--lr", "1"], ["--lr", "1", "--fp16"], "its command does not have --fp16. "),
        (["--text", "a", "b c"], ["--text", "a"], "its command has --text a 'b c', this one has --text a. "),
        (["--same", "--same"], ["--same"], "its command has --same, this one does not. "),
    ],
)
@pytest.mark.parametrize("status", [0, 1], ids=["finished", "unfinished"])
def test_another_command_in_the_same_folder_is_refused(
    words: list[str], others: list[str], message: str, status: int, tmp_path: Path
) -> None:
    first = [*counting(tmp_path, status), *words]
    if status:
        with pytest.raises(UserError):
            run(first, tmp_path)
    else:
        run(first, tmp_path)
    before = record(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        run([*counting(tmp_path, status), *others], tmp_path)
    assert str(caught.value).startswith(f"{tmp_path} contains another run: ")
    assert "Delete the folder or set LSKD_REPLACE=1" in str(caught.value)
    assert (tmp_path / "kept").read_text() == "x" and record(tmp_path) == before


def test_an_input_with_other_contents_is_refused_by_name(tmp_path: Path) -> None:
    given, out = tmp_path / "teacher.pt", tmp_path / "out"
    given.write_text("one")
    run(counting(out), out, inputs=[given])
    given.write_text("two")
    with pytest.raises(UserError, match=f"its input {given} had other contents"):
        run(counting(out), out, inputs=[given])
    given.write_text("one")
    run(counting(out), out, inputs=[given])
    assert (out / "kept").read_text() == "x"


def test_every_missing_input_is_named_before_anything_runs(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("")
    with pytest.raises(UserError) as caught:
        run(counting(tmp_path / "out"), tmp_path / "out", inputs=[tmp_path / "a.pt", there, tmp_path / "b.pt"])
    assert f"{tmp_path / 'a.pt'}, {tmp_path / 'b.pt'}: no such file" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_in_place_of_a_checkpoint(tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    with pytest.raises(UserError, match=rf"expected a file, found the folder {teacher}; name a file in it$"):
        run(counting(tmp_path / "out"), tmp_path / "out", inputs=[teacher])
    (teacher / "checkpoint_average.pt").touch()
    with pytest.raises(
        UserError, match=rf"found the folder {teacher}\. Did you mean {teacher}/checkpoint_average\.pt\?"
    ):
        run(counting(tmp_path / "out"), tmp_path / "out", inputs=[teacher])
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_vocabulary_is_explained(tmp_path: Path) -> None:
    import torch

    models = [
        torch.nn.ModuleDict({"decoder": torch.nn.ModuleDict({"embed_tokens": torch.nn.Embedding(n, 2)})})
        for n in (3, 4)
    ]
    with pytest.raises(RuntimeError) as caught:
        models[0].load_state_dict(models[1].state_dict())
    with pytest.raises(UserError, match="another vocabulary than the data"):
        run([sys.executable, "-c", f"raise RuntimeError({str(caught.value)!r})"], tmp_path / "a")
    with pytest.raises(UserError) as other:
        run([sys.executable, "-c", "raise RuntimeError('other')"], tmp_path / "b")
    assert "vocabulary" not in str(other.value)


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match=r"is not empty and has no run\.json"):
        run(counting(tmp_path), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


WHOLE = {"command": ["a"], "inputs": {}, "seconds": 1, "finished": None, "labels": {}}
OF_OTHER_TYPES = {"command": "a", "inputs": [], "seconds": "1", "finished": 3, "labels": [], "files": [1]}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"command": ["a"]}', *(json.dumps(WHOLE | {k: v}) for k, v in OF_OTHER_TYPES.items())],
)
def test_an_invalid_record_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(UserError, match=r"run\.json: .*expected a record of `lskd run`"):
        run(counting(tmp_path), tmp_path)
    assert not (tmp_path / "kept").exists()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("text")
    with pytest.raises(UserError, match="cannot be the folder of a run"):
        run(counting(tmp_path), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "text"


def test_the_error_of_a_failing_command_is_shown(tmp_path: Path) -> None:
    code = "print('x: error: old'); print('usage: ...'); print('prog: error: --lr is wrong'); print('so'); exit(2)"
    with pytest.raises(UserError) as caught:
        run(python(code), tmp_path)
    name = Path(sys.executable).name
    assert str(caught.value) == (
        f"{name} ended with status 2; {tmp_path / 'log.txt'} ends with:\n  prog: error: --lr is wrong\n  so"
    )
    assert record(tmp_path)["finished"] is None


def test_a_failing_command_without_an_error_of_its_own_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        run(python("for i in range(20): print('line', i)\nexit(1)"), tmp_path, log="said.txt")
    assert str(caught.value).splitlines()[1:] == [f"  line {i}" for i in range(12, 20)]
    assert (tmp_path / "said.txt").read_text().startswith("line 0\n")


@pytest.mark.parametrize("command", [["no-such-program-anywhere"], ["/"]])
def test_a_command_that_cannot_be_run_is_named(command: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^{command[0]} cannot be run: "):
        run(command, tmp_path)
    assert record(tmp_path)["finished"] is None


def test_a_run_that_left_nothing_may_be_replaced(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        run(python("exit('prog: error: wrong option')"), tmp_path)
    run(python("print('well')"), tmp_path)
    assert record(tmp_path)["finished"] and record(tmp_path)["command"][-1] == "print('well')"
    assert (tmp_path / "log.txt").read_text() == "well\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_too_and_the_next_call_resumes(number: int, tmp_path: Path) -> None:
    out, flag = tmp_path / "out", tmp_path / "flag"
    caller = lskd_run(out, *waiting(flag))
    until(flag.exists)
    child = int(flag.read_text())
    time.sleep(0.1)
    caller.send_signal(number)
    _, said = caller.communicate(timeout=20)
    assert caller.returncode == 128 + number
    assert "Traceback" not in said
    by_name = (
        f"lskd run: out was stopped by SIGTERM ({Path(sys.executable).name}). The record and the log in {out} are kept"
    )
    last = said.splitlines()[-1]
    assert last.startswith(by_name if number == signal.SIGTERM else "lskd run: interrupted") and "ame command" in last
    until(lambda: not lives(child))
    assert record(out)["finished"] is None and record(out)["seconds"] >= 0.1
    (tmp_path / "go").touch()
    run(waiting(flag), out)
    assert record(out)["finished"]


def test_what_sigterm_has_stopped_is_told_with_the_way_to_continue(tmp_path: Path) -> None:
    from fairseq_lskd.cli.run import _ended

    command = ["torchrun", "-m", "fairseq_cli.train", "bin", "--save-dir", str(tmp_path / "saved")]
    said = _ended(command, tmp_path, "teacher")
    assert (
        said == "teacher was stopped by SIGTERM (torchrun). Nothing is recorded yet. The same command starts it again"
    )
    (tmp_path / "run.json").touch()
    assert "starts it again, because there is no" in _ended(command, tmp_path, "teacher")
    (tmp_path / "saved").mkdir()
    (last := tmp_path / "saved/checkpoint_last.pt").touch()
    assert _ended(command, tmp_path, "teacher").endswith(f" The same command continues from {last}")
    assert _ended(["fairseq-train", "bin"], tmp_path, "teacher").endswith("the last checkpoint, if there is one")
    assert _ended(["fairseq-generate", "bin"], tmp_path, "test").endswith(" kept. The same command starts it again")


def test_a_killed_call_leaves_the_run_unfinished_and_locked_until_its_command_ends(tmp_path: Path) -> None:
    out, flag = tmp_path / "out", tmp_path / "flag"
    caller = lskd_run(out, *waiting(flag))
    until(flag.exists)
    child = int(flag.read_text())
    caller.kill()
    caller.wait(timeout=20)
    assert record(out)["finished"] is None and lives(child)
    with pytest.raises(UserError, match=rf"process {child} is running in this folder.*\(kill {child}\)"):
        run(waiting(flag), out)
    os.kill(child, signal.SIGKILL)
    until(lambda: not lives(child))
    (tmp_path / "go").touch()
    run(waiting(flag), out)
    assert record(out)["finished"]
    caller.stderr.close()


def test_labels_of_the_command_line_are_json_or_else_text(tmp_path: Path) -> None:
    labels = ["role=student", "temperature=2.0", "count=3", "tied=true", "note=a=b", "empty="]
    words = [word for label in labels for word in ("--label", label)]
    assert main(["run", "--out", str(tmp_path / "out"), *words, "--", *python("pass")]) == 0
    assert record(tmp_path / "out")["labels"] == {
        **{"role": "student", "temperature": 2.0, "count": 3, "tied": True},
        **{"note": "a=b", "empty": ""},
    }


def test_labels_are_what_the_last_option_of_the_command_says() -> None:
    command = ["fairseq-train", "bin", "--criterion", "word_kd", "--kd-temperature", "1.0", "--seed", "1"]
    command += ["--label-smoothing", "0.1", "--kd-temperature=3", "--kd-weight", "0.7"]
    wanted = {"temperature": 3.0, "kd_weight": 0.7, "seed": 1}
    assert labels_of(command, {"role": "student"}) == {"role": "student", **wanted}
    assert labels_of(command, {"role": "teacher"})["teacher_smoothing"] == 0.1
    assert labels_of(command, {"temperature": "3.0"}) == {**wanted, "temperature": "3.0"}
    assert labels_of(["fairseq-generate", "--seed", "1"], {"role": "student"}) == {"role": "student"}
    with pytest.raises(UserError, match=r"--label temperature=1.0, .*--kd-temperature 3"):
        labels_of(command, {"temperature": 1.0})


def test_a_label_without_a_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--label role: expected NAME=VALUE"):
        main(["run", "--out", str(tmp_path / "out"), "--label", "role", "--", *python("pass")])
    assert not (tmp_path / "out").exists()


def test_a_misspelt_role_is_refused_and_a_role_of_ones_own_is_not() -> None:
    with pytest.raises(UserError, match="role=studnet: did you mean student"):
        read_labels(["role=studnet"])
    for role in ("teacher", "student", "big"):
        assert read_labels([f"role={role}"]) == {"role": role}


def test_the_command_may_have_dashes_of_its_own(tmp_path: Path) -> None:
    words = ["--out", "elsewhere", "--", "--log"]
    assert main(["run", "--out", str(tmp_path), "--", *python("pass"), *words]) == 0
    assert record(tmp_path)["command"] == [*python("pass"), *words]


def test_the_input_option_may_be_repeated(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    words = ["--input", str(tmp_path / "a"), "--input", str(tmp_path / "b")]
    assert main(["run", "--out", str(tmp_path / "out"), *words, "--", *python("pass")]) == 0
    assert list(record(tmp_path / "out")["inputs"]) == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_a_call_that_was_killed_leaves_its_seconds_and_its_log(tmp_path: Path) -> None:
    out = tmp_path / "run"
    code = "import pathlib, sys; p = pathlib.Path(sys.argv[1]); print(p.exists()); sys.exit(not p.exists())"
    command = [sys.executable, "-c", code, str(tmp_path / "there")]
    with pytest.raises(UserError):
        run(command, out)
    # As if it was killed 100 seconds after it wrote its record: the log is newer.
    (out / "checkpoint.pt").touch()
    written = (out / "run.json").stat().st_mtime
    os.utime(out / "log.txt", (written + 100, written + 100))
    (tmp_path / "there").touch()
    run(command, out)
    assert 100 <= json.loads((out / "run.json").read_text())["seconds"] < 130
    assert [(out / name).read_text() for name in ("log.txt.1", "log.txt")] == ["False\n", "True\n"]


def test_a_kept_log_is_never_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    with pytest.raises(UserError):
        run(command, out)
    (out / "log.txt.2").write_text("the second")  # log.txt.1 was deleted
    with pytest.raises(UserError):
        run(command, out)
    assert (out / "log.txt.2").read_text() == "the second" and (out / "log.txt.3").is_file()
