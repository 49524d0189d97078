"""Options of recorded commands."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from fairseq_lskd.commands import option, shown

COMMAND = ["fairseq-train", "bin", "--seed", "3", "--save-dir=a=b", "--fp16", "--seed=4", "--kd-weight"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("--save-dir", "a=b"),
        ("--seed", "4"),
        ("--arch", None),
        ("--save", None),
        ("--fp16", "--seed=4"),
        ("--kd-weight", None),
    ],
)
def test_the_last_value_counts_and_an_option_without_one_has_none(name: str, value: str | None) -> None:
    assert option(COMMAND, name) == value


def words(command: str) -> list[str]:
    """Return the words of a command as bash reads it."""
    done = subprocess.run(["bash", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_shown_command_is_wrapped_and_can_be_copied() -> None:
    command = ["lskd", "translate", "my text", "--input", "a", "--input", "b", "--patience", "-1", *["--beam", "5"] * 3]
    assert shown(command, 200) == shlex.join(command)
    lines = shown(command, 40).splitlines()
    assert len(lines) > 2 and all(len(line) <= 40 for line in lines)
    assert all(line.endswith(" \\") for line in lines[:-1]) and all(line.startswith("    ") for line in lines[1:])
    assert words(shown(command, 40)) == command
    assert any(line.strip().startswith("--patience -1") or " --patience -1" in line for line in lines)
    assert words(shown(command, 1)) == command


def test_a_shown_training_has_the_last_value_of_an_option() -> None:
    start = ["torchrun", "--x", "1", "-m", "fairseq_cli.train", "bin"]
    command = [*start, "--dropout", "0.1", "--fp16", "--seed=1", "-s", "de", "--dropout", "0.0", "--seed", "2"]
    assert shlex.split(shown(command, 500)) == [*start, "--fp16", "-s", "de", "--dropout", "0.0", "--seed", "2"]
