"""Tests of `lskd speed`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.scoring.speed import measure, rate_of

LINE = "2024 | INFO | x | Translated 1,000 sentences (13,500 tokens) in 8.0s (125.40 sentences/s, 1 tokens/s)\n"


def test_rate_of() -> None:
    assert rate_of("x\n" + LINE) == (1000, 125.4)
    with pytest.raises(ValueError, match="number of translated sentences"):
        rate_of("Killed\n")


@pytest.fixture
def generate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fairseq-generate that logs its arguments and is faster in each call."""
    monkeypatch.chdir(tmp_path)
    program = Path("bin/fairseq-generate")
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\n[ "$5" != broken.pt ] || { echo no such model >&2; exit 3; }\n'
        'echo "$@" >>calls\nn=$(wc -l <calls)\n'
        'echo "Translated 9 sentences (9 tokens) in 1.0s ($((n * 10)).00 sentences/s, 9.0 tokens/s)"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent.resolve()}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for name in ("a.pt", "b.pt", "broken.pt"):
        Path(name).touch()


def test_models_take_turns_and_the_median_counts(generate: None) -> None:
    words = ["--model", "a=a.pt", "--model", "b=b.pt", "--rounds", "3", "--out", "s.json", "--", "--beam", "4"]
    assert main(["speed", "--data", "bin", *words]) == 0
    called = [line.split() for line in Path("calls").read_text().splitlines()]
    assert [words[4] for words in called] == ["a.pt", "b.pt", "b.pt", "a.pt", "a.pt", "b.pt"]
    assert called[0] == ["bin", "--gen-subset", "test", "--path", "a.pt", "--beam", "4"]
    found = json.loads(Path("s.json").read_text())
    assert found["systems"]["a"].pop("others_cores") >= 0
    assert found["systems"]["a"] == {"sentences_per_second": 40.0, "rounds": [10.0, 40.0, 50.0]}
    assert found["systems"]["b"]["sentences_per_second"] == 30.0
    assert (found["threads"], found["sentences"], found["options"]) == (3, 9, ["--beam", "4"])
    assert found["machine"]["cores"] >= 1


def test_threads(generate: None) -> None:
    Path("bin/fairseq-generate").write_text(
        '#!/bin/sh\necho "$OMP_NUM_THREADS $@" >>calls\n'
        'echo "Translated 9 sentences (9 tokens) in 1.0s (5.00 sentences/s, 9.0 tokens/s)"\n'
    )
    words = ["speed", "--data", "bin", "--model", "a=a.pt", "--rounds", "1", "--out", "s.json"]
    assert main([*words, "--threads", "1"]) == 0 and main(words) == 0
    one, usual = (line.split() for line in Path("calls").read_text().splitlines())
    assert (one[0], usual[0]) == ("1", "3") and "--cpu" in one and "--cpu" not in usual


def test_different_numbers_of_sentences_are_refused() -> None:
    with pytest.raises(UserError, match="a fairseq: 9, a exported: 8"):
        measure({("a", "fairseq"): lambda: (9, 1.0), ("a", "exported"): lambda: (8, 1.0)}, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "a.pt"], "--model a.pt: expected NAME=FILE"),
        (["--model", "a=none.pt"], "a=none.pt: expected NAME=FILE"),
        (["--model", "a=a.pt", "--model", "a=b.pt"], "--model a=b.pt: the name a is used for a.pt too"),
        (["--model", "=a.pt"], "--model =a.pt: expected NAME=FILE"),
        (["--model", "a=a.pt", "--rounds", "0"], "--rounds 0: expected 1 or more"),
        (["--model", "a=a.pt", "--threads", "0"], "--threads 0: expected 1 or more"),
        (["--model", "a=a.pt", "--exported", "a=a.pt"], "--exported a=a.pt: expected NAME=DIR"),
        (["--model", "a=a.pt", "--exported", "b=bin"], "--exported b: expected the name of a --model (a)"),
        (["--model", "a=broken.pt"], "broken.pt did not finish (exit status 3):\n  no such model"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str, generate: None) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["speed", "--data", "bin", *words, "--out", "s.json"])
    assert message in str(caught.value.code) and not Path("s.json").exists()
