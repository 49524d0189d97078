"""Error messages."""

from __future__ import annotations

import pickle

from fairseq_lskd.errors import UserError


def test_a_message_cannot_command_the_terminal() -> None:
    error = UserError("a\x1b[2J\x00b\u202ec\ud800 日本\n  and\tmore")
    assert str(error) == "a\\x1b[2J\\x00b\\u202ec\\ud800 日本\n  and\tmore"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(UserError("plain é")) == "plain é"
