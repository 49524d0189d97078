"""Ranges of the numeric options of all commands."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairseq_lskd.cli import COMMANDS, main
from fairseq_lskd.cli._numbers import LIMITS, check_numbers
from fairseq_lskd.errors import UserError


def numbers() -> Iterator[tuple[str, str, type]]:
    """Yield flag, attribute and type of every numeric option of every command."""

    def walk(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for below in action.choices.values():
                    yield from walk(below)
            elif action.type in (int, float):
                yield action

    for command in COMMANDS:
        parser = argparse.ArgumentParser()
        importlib.import_module(f"fairseq_lskd.cli.{command}").add_arguments(parser)
        for action in walk(parser):
            yield f"--{action.dest.replace('_', '-')}", action.dest, action.type


def test_every_number_of_every_command_is_checked() -> None:
    found = list(numbers())
    assert len(found) > 50
    for flag, name, kind in found:
        infinite = [] if flag == "--unkpen" else [float("inf")]
        for value in [2**64] if kind is int else [float("nan"), -float("inf"), *infinite]:
            with pytest.raises(UserError, match=f"^{flag} {value}: expected"):
                check_numbers(argparse.Namespace(**{name: value}))
    assert LIMITS.keys() <= {flag for flag, _, _ in found}


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ("cache data --teacher-path t.pt --max-target-positions -5 --max-source-positions 0", 2),
        ("cache data --teacher-path t.pt --kd-temperature 1e-320 --top-k 0", 2),
        ("translate text --teacher-path t.pt --temperature nan --lenpen inf --max-len-a nan", 3),
        ("translate text --teacher-path t.pt --sampling-topp nan --diverse-beam-strength inf", 2),
        ("translate text --teacher-path t.pt --max-target-positions 1 --workers 0", 2),
        ("select nbest -s de -t en --add-references nan --score-temperature inf --max-hypotheses 0", 3),
        ("export t.pt --beam 0 --threads -1", 2),
        ("analyze --data data --teacher t.pt --memory nan --min-count 0", 2),
        ("encode --raw raw -s de -t en --character-coverage nan", 1),
        ("generate --ambiguous inf", 1),
    ],
)
def test_all_wrong_numbers_are_named_before_any_file_is_read(
    words: str, flags: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main([*words.split(), "--out", "out"])
    said = str(caught.value.code)
    assert said.startswith(f"lskd {words.split()[0]}: error: --") and said.count(": expected ") == flags
    assert all(f"{flag} " in said for flag in words.split()[-2 * flags :: 2])
    assert not list(tmp_path.iterdir())
