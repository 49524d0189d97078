"""Wrong options of examples/another_vocabulary.sh, which are found before anything is prepared."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "another_vocabulary.sh"


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["--corpus", "wmt14"], ["--corpus wmt14", "generated or multi30k"]),
        (["--raw", "/tmp"], ["--raw needs --corpus multi30k"]),
        (["--raw", "/nonexistent"], ["--raw /nonexistent", "no such folder"]),
        (["--teacher-pieces", "many"], ["--teacher-pieces many", "numbers"]),
        (["--teacher-pieces", "400"], ["--teacher-pieces 400 --student-pieces 400", "two"]),
        (["--seeds", "1,2"], ["--seeds 1,2", "numbers"]),
        (["--seed", "1"], ["unknown option --seed"]),
        (["--seeds"], ["--seeds needs a value"]),
    ],
)
def test_wrong_options_are_refused_before_anything_is_prepared(words: list[str], facts: list[str]) -> None:
    done = subprocess.run(["bash", EXAMPLE, *words], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("another_vocabulary.sh: error: ") and all(fact in done.stderr for fact in facts)
