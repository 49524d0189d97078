"""Control characters are escaped in all output."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from fairseq_lskd.cli import main
from fairseq_lskd.terminal import plain_output, printable

ESCAPE = "\x1b[2J\x1b]0;mine\x07"


def test_control_characters_are_escaped() -> None:
    assert printable("a\x1b[31mb\x07\x9b\r\x7f\udcff") == r"a\x1b[31mb\x07\x9b\r\x7f\udcff"
    assert printable("größer\tals\n日本語 ▁") == "größer\tals\n日本語 ▁"


def test_records_in_a_table(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "result.json"
    signature = f"nrefs:1{ESCAPE}"
    path.write_text(json.dumps({"system": f"a{ESCAPE}", "bleu": 1.0, "signature": signature, "method": ESCAPE}))
    for style in ("simple", "github", "latex", "tsv"):
        assert main(["table", str(path), "--style", style]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out and "\x07" not in out and "x1b" in out


def test_names_of_systems_that_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "out").write_text("a cat sat there\n")
    words = ["score", f"{ESCAPE}={tmp_path}/out", "-r", str(tmp_path / "out"), "-m", "bleu", "--allow-overlap"]
    assert main(words) == 0
    said = "".join(capsys.readouterr())
    assert "\x1b" not in said and r"\x1b[2J" in said


def test_messages(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        main(["table", str(tmp_path / f"{ESCAPE}.json")])
    assert isinstance(end.value.code, str) and "\x1b" not in end.value.code and r"\x1b[2J" in end.value.code


def test_an_unknown_flag_is_shown_without_its_escape(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["table", "a.json", f"--{ESCAPE}"])
    assert "\x1b" not in capsys.readouterr().err


def test_progress_bars_keep_their_control_sequences(capsys: pytest.CaptureFixture) -> None:
    with plain_output():
        for _ in tqdm(range(3), "bar", file=sys.stderr, mininterval=0):
            pass
    assert "\r" in capsys.readouterr().err
