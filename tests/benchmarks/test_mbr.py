"""Tests of the benchmark of minimum Bayes risk at a small size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .conftest import BENCHMARKS


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in (sys.executable, BENCHMARKS / "mbr.py", *words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_missing_file_gives_no_traceback(tmp_path: Path) -> None:
    done = run("--task", "none", tmp_path / "none.jsonl")
    assert done.returncode == 1 and "Traceback" not in done.stderr and "none.jsonl" in done.stderr


def test_every_form_has_a_row(tmp_path: Path) -> None:
    texts = ["a dog runs", "the dog runs", "a cat"]
    hypotheses = [{"tokens": text, "text": text, "score": -1.0, "length": 4} for text in texts]
    records = [{"id": i, "source": "x", "hypotheses": hypotheses} for i in range(3)]
    (tmp_path / "lists.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    (tmp_path / "text").write_text("one two three four five six\n" * 3)
    done = run(
        *("--task", "lists", tmp_path / "lists.jsonl", "--task", "copies", tmp_path / "text", "--candidates", 3),
        *("--rounds", 1, "--json", tmp_path / "rows.json"),
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["task"], row["utility"], row["form"]) for row in rows] == [
        (task, utility, form)
        for task in ("lists", "copies")
        for utility in ("sentence-bleu", "chrf")
        for form in ("sacrebleu", "exact", "aggregated")
    ]
    assert all(
        row["sentences_per_second_median"] > 0 and {"machine", "versions", "command"} <= row.keys() for row in rows
    )
    assert all(0 <= row["same_choice"] <= row["among_best_5"] <= 1 for row in rows if row["form"] == "aggregated")
