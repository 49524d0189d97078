"""Options of recorded commands."""

from __future__ import annotations

import pytest

from fairseq_lskd.commands import option

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
