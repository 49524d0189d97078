"""Properties of all subcommands of `lskd`: help, usage, errors and interrupts."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest

import fairseq_lskd
from fairseq_lskd.cli import COMMANDS, main
from fairseq_lskd.cli._help import HelpFormatter

LSKD = [sys.executable, "-m", "fairseq_lskd.cli"]


def lskd(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([*LSKD, *words], capture_output=True, text=True, timeout=60)


def test_options_of_a_criterion_have_their_defaults(capsys: pytest.CaptureFixture) -> None:
    assert main(["criterion", "word_kd"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for words in ("(default: 0.5)", "(default: forward_kl)", "(default: auto)"):
        assert words in said
    assert "(default: None)" not in said and said.count("(default: 0.5)") >= 2


def test_a_command_leaves_the_loggers_of_fairseq_as_they_were(capsys: pytest.CaptureFixture) -> None:
    loggers = [logging.getLogger(name) for name in ("fairseq", "fairseq_lskd")]
    within = []
    with mock.patch("fairseq_lskd.cli.criterion.run", lambda _: within.extend(log.level for log in loggers) or 0):
        main(["criterion", "word_kd"])
    assert within == [logging.WARNING] * 2 and [log.level for log in loggers] == [logging.NOTSET] * 2


def test_help_names_every_command(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    said = capsys.readouterr().out
    assert caught.value.code == 0
    assert re.findall(r"^    (\w+)", said, flags=re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_fits_the_terminal_and_has_examples(
    name: str, columns: int, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    said = capsys.readouterr().out
    assert caught.value.code == 0
    assert said.startswith(f"usage: lskd {name} ")
    assert max(map(len, said.splitlines())) <= columns
    examples = said.partition("\nexamples:\n")[2].splitlines()
    assert [line for line in examples if line.split()[:2] == ["lskd", name]]


def test_typing_errors_are_answered_by_what_was_meant() -> None:
    done = lskd("select", "nbest.jsonl", "-s", "de", "-t", "en", "--out", "o", "--stratgy", "mbr")
    assert done.returncode == 2 and "usage: lskd select" in done.stderr
    assert "--stratgy" in done.stderr and "Did you mean --strategy?" in done.stderr
    done = lskd("data", "prepare", "own", "--out", "o", "--cahce", "c")
    assert "usage: lskd data prepare" in done.stderr and "Did you mean --cache?" in done.stderr
    done = lskd("tranlate")
    assert done.returncode == 2 and "Did you mean translate?" in done.stderr
    done = lskd("train")
    assert done.returncode == 2 and "Call fairseq-train. In a checkout, scripts/train_teacher.sh does it" in done.stderr


def test_options_that_are_not_similar_are_not_suggested(capsys: pytest.CaptureFixture) -> None:
    for words, message in (
        (["table", "r.json", "--sort", "bleu"], "unrecognized arguments: --sort bleu"),
        (["table", "r.json", "--stlye", "latex"], "--stlye latex. Did you mean --style?"),
        (["table", "r.json", "--otu=x"], "--otu=x. Did you mean --out?"),
        (["table", "r.json", "--over_seeds", "style"], "--over_seeds style. Did you mean --over-seeds?"),
        (
            ["record", "--run", "r", "--out", "F"],
            "--out F. The record is written to result.json in the folder of --run (see --test-name)",
        ),
    ):
        with pytest.raises(SystemExit):
            main(words)
        assert capsys.readouterr().err.splitlines()[-1].endswith(message)


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("lskd tra", {"translate"}),
        ("lskd select --strat", {"--strategy"}),
        ("lskd select nbest.jsonl --strategy m", {"mbr", "mbr-n"}),
    ],
)
def test_the_shell_completes_commands_options_and_values(line: str, completions: set[str], tmp_path: Path) -> None:
    pytest.importorskip("argcomplete")
    out = tmp_path / "completions"
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    asked["_ARGCOMPLETE_STDOUT_FILENAME"] = str(out)
    subprocess.run(LSKD, env={**os.environ, **asked}, capture_output=True, timeout=60, check=True)
    assert set(out.read_text().split()) == completions


def test_the_version_is_printed() -> None:
    assert lskd("--version").stdout == f"fairseq_lskd {fairseq_lskd.__version__}\n"


def test_without_a_command_the_help_is_on_stderr() -> None:
    done = lskd()
    assert done.returncode == 2 and done.stdout == ""
    assert re.findall(r"^    (\w+)", done.stderr, flags=re.MULTILINE) == list(COMMANDS)


def test_long_examples_are_broken_between_options() -> None:
    parser = argparse.ArgumentParser(
        formatter_class=lambda prog: HelpFormatter(prog, width=42),
        description="A paragraph that is longer than a line, with a --flag-of-many-words.\nIt goes on.",
        epilog="examples:\n  lskd do DATA --out some/long/folder \\\n      --size 3 --name a-long-name\n  lskd do",
    )
    said = parser.format_help()
    assert "A paragraph that is longer than a line,\nwith a --flag-of-many-words. It goes on.\n" in said
    assert said.endswith(
        "examples:\n  lskd do DATA --out some/long/folder \\\n      --size 3 --name a-long-name\n  lskd do\n"
    )


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_imports_neither_torch_nor_fairseq(words: list[str]) -> None:
    code = (
        "import sys\nfrom fairseq_lskd.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'fairseq', 'sacrebleu', 'sentencepiece'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: lskd")


@pytest.mark.parametrize("words", [["bogus"], ["table", "--bogus"], ["select"], ["run", "--out", "x"]], ids=" ".join)
def test_wrong_usage_exits_with_2(words: list[str]) -> None:
    done = lskd(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: lskd") and ": error: " in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--out", "{tmp}/run", "--", "false"],
        ["run", "--out", "{tmp}/run", "--input", "{tmp}/none", "--", "true"],
        ["harvest", "{tmp}/none", "--source", "{tmp}/none", "--out", "{tmp}/out"],
        ["select", "{tmp}/none", "-s", "de", "-t", "en", "--out", "{tmp}/out"],
        ["translate", "{tmp}/none", "--teacher-path", "{tmp}/none.pt", "--out", "{tmp}/out"],
        ["cache", "{tmp}/none", "-s", "de", "-t", "en", "--teacher-path", "{tmp}/none.pt", "--out", "{tmp}/out"],
        ["average", "{tmp}/none.pt", "--out", "{tmp}/out.pt"],
        ["average", "{tmp}"],
        ["average", "{tmp}", "--last", "0"],
        ["average", "{tmp}/a.pt", "{tmp}/b.pt"],
        ["score", "--run", "{tmp}", "--checkpoint", "{tmp}/a.pt", "--hypotheses", "{tmp}/h", "--references", "{tmp}/r"],
        ["table", "{tmp}/none"],
        ["encode", "--raw", "{tmp}/none", "--out", "{tmp}/out", "-s", "de", "-t", "en"],
        ["data", "prepare", "none", "--out", "{tmp}/out"],
        ["data", "prepare", "own", "--raw", "{tmp}/none", "-s", "de", "-t", "en", "--out", "{tmp}/out"],
        ["data", "verify", "{tmp}/none"],
    ],
    ids=" ".join,
)
def test_a_mistake_ends_in_a_message(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        main([word.format(tmp=tmp_path) for word in words])
    # Python prints the text to stderr, and exits with status 1.
    assert isinstance(caught.value.code, str) and caught.value.code.startswith(f"lskd {words[0]}: error: ")
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.pt").exists()


def test_a_mistake_exits_with_1_and_no_traceback(tmp_path: Path) -> None:
    done = lskd("table", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("lskd table: error: ") and done.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "nbest").write_text("a\n")
    given = [str(tmp_path / "nbest"), "--format", "text", "--source", str(tmp_path / "nbest")]
    with pytest.raises(
        SystemExit, match=f"^lskd select: error: .*{tmp_path / 'file'}.*: .*(Not a directory|File exists)"
    ):
        main(["select", *given, "-s", "de", "-t", "en", "--out", str(tmp_path / "file" / "out")])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("path", [None, "made/train.de"])
def test_a_full_disk_is_reported(path: str | None, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(args: object) -> int:
        raise OSError(number, os.strerror(number), path)  # errors of writing have no path, errors of opening have one

    monkeypatch.setattr("fairseq_lskd.cli.binarise.run", run)
    with pytest.raises(SystemExit) as caught:
        main(["binarise", "pieces", "--out", "made"])
    assert isinstance(caught.value.code, str)
    assert caught.value.code.startswith(f"lskd binarise: error: {path or 'made'}: {os.strerror(number)}")
    assert "Free some space" in caught.value.code


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(args: object) -> int:
        raise OSError("of no file")

    monkeypatch.setattr("fairseq_lskd.cli.table.run", run)
    with pytest.raises(OSError, match="of no file"):
        main(["table", "a.json"])


def test_an_interrupt_from_the_keyboard_ends_in_one_line(tmp_path: Path) -> None:
    # A new terminal sends Ctrl-C to the command as well.
    child, terminal = pty.fork()
    if child == 0:
        code = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
        words = ["run", "--out", str(tmp_path / "run"), "--", sys.executable, "-c", code, str(tmp_path / "there")]
        os.execv(LSKD[0], [*LSKD, *words])
    deadline = time.monotonic() + 60
    while not (tmp_path / "there").exists():
        assert os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < deadline
        time.sleep(0.05)
    os.write(terminal, b"\x03")
    said = b""
    try:
        while part := os.read(terminal, 1000):
            said += part
    except OSError:  # the end of the output on Linux
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + signal.SIGINT
    os.close(terminal)
    assert b"lskd run: interrupted. Run the same command again" in said and b"Traceback" not in said


@pytest.mark.parametrize("command", ["translate", "cache"])
def test_teacher_is_another_name_of_teacher_path(command: str, tmp_path: Path) -> None:
    """Without it, argparse calls --teacher ambiguous."""
    (tmp_path / "text").write_text("a\n")
    with pytest.raises(SystemExit) as caught:
        main([command, str(tmp_path / "text"), "--teacher", str(tmp_path / "none.pt"), "--out", str(tmp_path / "out")])
    assert str(tmp_path) in str(caught.value.code)
