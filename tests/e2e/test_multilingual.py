"""The experiment with several language pairs as one command, to its table; what it prepares; and calling it again."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fairseq_lskd import cli
from fairseq_lskd.commands import option

ROOT = Path(__file__).resolve().parents[2]
PAIRS = ("xx-yy", "ww-yy")
TEXT = ["--train", "150", "--valid", "20", "--test", "20", "--references", "2", "--nouns", "9", "--verbs", "6"]
RECIPE = f"""
. {ROOT}/scripts/recipes/smoke.sh
teacher_updates=4 student_updates=4
training+=(--warmup-updates 2 --save-interval-updates 2 --validate-interval-updates 2)
"""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".venv" / ".lskd-stamp").exists(), reason="scripts/setup.sh has not made .venv"),
]


def call(home: Path, *words: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [str(ROOT / "scripts" / words[0]), *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, env=environment, cwd=home)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


def test_one_student_of_two_pairs_is_compared_with_bilingual_students(tmp_path: Path) -> None:
    for number, pair in enumerate(PAIRS):
        out = tmp_path / "text" / pair
        assert cli.main(["generate", "--out", str(out), *TEXT, "--dialect", str(number)]) == 0
    (tmp_path / "tiny.sh").write_text(RECIPE)
    words = ["experiment.sh", "multilingual", "--raw", "text", "--pairs", ",".join(PAIRS), "--name", "mine"]
    words += ["--recipe", "tiny.sh", "--seeds", "1", "--vocab-size", "400", "--directory", str(tmp_path)]
    said = call(tmp_path, *words)

    results = tmp_path / "runs" / "mine" / "results"
    rows: list[dict[str, Any]] = json.loads((results / "results.json").read_text())
    kinds = ("teacher", "student", "word", "many", "many-word")
    assert [row["system"] for row in rows] == [f"{kind}-{pair}-s1" for pair in PAIRS for kind in kinds]
    by_name = {row["system"].removesuffix("-s1"): row for row in rows}
    for name, row in by_name.items():
        many = name.startswith("many")
        assert row["pair"] == name[-5:] and row.get("pairs") == (2 if many else None)
        assert row["updates"] == (8 if many else 4) and row["signature"].startswith("nrefs:2|")
        assert row["valid_ppl"] > 1 and row["kl_to_truth"] > 0
    for pair in PAIRS:
        teacher = [by_name[f"teacher-{pair}"]["checkpoint_sha256"]]
        assert by_name[f"word-{pair}"]["teacher_sha256"] == by_name[f"many-word-{pair}"]["teacher_sha256"] == teacher
        assert by_name[f"many-{pair}"]["teacher_sha256"] is None
        # One vocabulary. A multilingual student has an embedding more for each of the three language tokens.
        width = int(option(by_name[f"many-{pair}"]["command"], "--encoder-embed-dim") or 0)
        assert by_name[f"many-{pair}"]["parameters"] == by_name[f"student-{pair}"]["parameters"] + 3 * width
    table = (results / "table.md").read_text()
    assert "| many-word-ww-yy" in table and "different budgets" in table and "many-word-ww-yy" in said
    assert "| many-word-xx-yy | word-xx-yy " in (results / "differences.md").read_text()
    assert "Nothing to be done" in call(tmp_path, *words)
    # With another recipe, everything is trained again.
    (tmp_path / "tiny.sh").write_text(RECIPE + "\n")
    assert call(tmp_path, *words, "--dry-run").count("train_teacher.sh") == 2 * len(PAIRS)


def test_generated_pairs_have_one_vocabulary(tmp_path: Path) -> None:
    sizes = ["--train", "100", "--valid", "10", "--test", "10", "--vocab-size", "300"]
    words = ["prepare_pairs.sh", "--corpus", "generated", "--data", "many", *sizes]
    call(tmp_path, *words)
    folder = tmp_path / "many" / "bin"
    symbols = [[line.split()[0] for line in path.read_text().splitlines()] for path in folder.glob("dict.*.txt")]
    assert len(symbols) == 4 and all(each == symbols[0] for each in symbols)
    names = {path.name for path in folder.glob("*.bin")}
    assert names == {
        f"{split}.{source}-yy.{language}.bin"
        for split in ("train", "valid", "test")
        for source in ("xx", "ww", "zz")
        for language in (source, "yy")
    }
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert call(tmp_path, *words).count("up to date") == 10
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
