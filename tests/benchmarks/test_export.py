"""Tests of the benchmark of `lskd export` at a small size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import BENCHMARKS

pytest.importorskip("ctranslate2")


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in (sys.executable, BENCHMARKS / "export.py", *words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_missing_file_gives_no_traceback(tmp_path: Path) -> None:
    done = run("--task", "letters", tmp_path / "none.pt", tmp_path / "none.de", tmp_path / "none.en")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    wanted = f"export.py: error: {tmp_path}/none.de: cannot be read (No such file or directory)"
    assert done.stderr.splitlines()[-1] == wanted


@pytest.mark.slow
def test_fairseq_and_exported_models_are_in_one_table(tmp_path: Path) -> None:
    from prepared import prepare
    from trained import trained_teacher

    data = prepare(tmp_path)
    task = ["letters", trained_teacher(data / "bin"), data / "raw/test.de", data / "raw/test.en"]
    done = run("--task", *task, "--rounds", 2, "--json", tmp_path / "rows.json")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["corpus"], row["model"]) for row in rows] == [
        ("letters", "fairseq"),
        ("letters", "float32"),
        ("letters", "int8"),
    ]
    for row in rows:
        assert row["sentences"] == 20 and row["rounds"] == 2 and row["megabytes"] > 0
        assert row["sentences_per_second_median"] > 0 and len(row["times_fairseq_quartiles"]) == 2
        assert {"signature", "settings", "machine", "versions", "command", "checkpoint_sha256"} <= row.keys()
    assert rows[0]["times_fairseq"] == 1
    assert rows[0]["bleu"] == rows[1]["bleu"]
    assert rows[2]["bytes"] < rows[1]["bytes"]
    assert [line.split()[1:4:2] for line in done.stdout.splitlines()[2:5]] == [[r["corpus"], r["model"]] for r in rows]
