"""The benchmark of `lskd export`, at a size of seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import BENCHMARKS

pytest.importorskip("ctranslate2")
pytestmark = pytest.mark.slow


def test_fairseq_and_the_folders_are_in_one_table(tmp_path: Path) -> None:
    from prepared import prepare
    from trained import trained_teacher

    data = prepare(tmp_path)
    task = ["letters", trained_teacher(data / "bin"), data / "raw/test.de", data / "raw/test.en"]
    words = ["--task", *task, "--rounds", 2, "--json", tmp_path / "rows.json"]
    done = subprocess.run(
        [str(word) for word in (sys.executable, BENCHMARKS / "export.py", *words)],
        capture_output=True,
        text=True,
        timeout=120,
    )
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
