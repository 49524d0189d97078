"""Error messages."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from fairseq_lskd.errors import COLLECTED, UserError, exit_on_user_error, meant


def test_a_message_cannot_command_the_terminal() -> None:
    error = UserError("a\x1b[2J\x00b\u202ec\ud800 日本\n  and\tmore")
    assert str(error) == "a\\x1b[2J\\x00b\\u202ec\\ud800 日本\n  and\tmore"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(UserError("plain é")) == "plain é"


def test_messages_of_an_experiments_steps_are_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COLLECTED, str(tmp_path / "errors"))
    for step in ("a", "b"):
        with pytest.raises(SystemExit), exit_on_user_error(step):
            raise UserError("é")
    monkeypatch.setenv(COLLECTED, str(tmp_path / "no folder" / "errors"))
    with pytest.raises(SystemExit, match="c: error: é"), exit_on_user_error("c"):
        raise UserError("é")
    assert (tmp_path / "errors").read_text(encoding="utf-8") == "a: error: é\nb: error: é\n"


def test_what_a_misspelt_word_means() -> None:
    assert meant("taecher", ("teacher", "student")) == "teacher"
    assert meant("corpus", ("teacher", "student")) is None
    assert meant("taecher", iter(("teacher",)), cutoff=0.95) is None
