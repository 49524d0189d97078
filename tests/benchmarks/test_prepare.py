"""Tests of the benchmark of data preparation at a small size."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("sacremoses")
import prepare

from fairseq_lskd.errors import UserError

from .conftest import BENCHMARKS


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    chance = random.Random(1)
    # The cleaner knows the languages, and no line is repeated.
    texts = {
        "en": "the old man sees that there is a small house behind these trees with his own eyes when she was away",
        "fr": "le vieux monsieur voit qu'une petite maison est derrière les arbres avec ses yeux quand elle était là",
    }
    for name, lines in (("train", 300), ("dev", 10), ("test", 10)):
        for language in ("en", "fr"):
            words = texts[language].split()
            text = "".join(" ".join(chance.choices(words, k=12)) + ".\n" for _ in range(lines))
            (folder / f"{name}.{language}.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def test_short_texts_are_repeated(corpus: Path, tmp_path: Path) -> None:
    args = prepare.parse(["--corpus", str(corpus)])
    prepare.write_bitext(tmp_path / "raw", 650, args)
    lines = (tmp_path / "raw/train.fr").read_text().splitlines()
    assert len(lines) == 650 and lines[:300] == lines[300:600] and lines[:50] == lines[600:]


def test_cleaning_is_not_measured_on_repeated_pairs(corpus: Path) -> None:
    """It would remove them, so that the steps after it had fewer pairs than those of other recipes."""
    words = ["--corpus", str(corpus), "--pairs", "100", "301", "--recipes"]
    with pytest.raises(UserError, match=r"--pairs 301: .*train.en.gz has 300 pairs"):
        prepare.main([*words, "sentencepiece", "cleaned"])
    prepare.check_pairs(prepare.parse(["--corpus", str(corpus), "--pairs", "300"]))


def test_memory_is_summed_over_all_processes() -> None:
    """Two processes have 60 MB each, one of them a grandchild."""
    code = "import time; hold = bytes(range(256)) * 234_375; time.sleep(60)"
    process = subprocess.Popen(
        ["bash", "-c", f'{sys.executable} -c "{code}" & bash -c \'{sys.executable} -c "{code}"; :\'']
    )
    try:
        deadline = time.monotonic() + 20
        found = 0
        while found < 120e6 and time.monotonic() < deadline:
            time.sleep(0.1)
            found = sum(map(prepare.memory, prepare.tree(process.pid)))
        assert 120e6 < found < 200e6
    finally:
        for child in prepare.tree(process.pid):
            os.kill(child, 9)
        process.wait()


def test_a_failed_stage_is_an_error() -> None:
    with pytest.raises(SystemExit, match=r"status 3 of: echo no \| cat; exit 3\nno"):
        prepare.run("echo no | cat; exit 3")


def test_a_missing_corpus_gives_no_traceback(tmp_path: Path) -> None:
    words = [sys.executable, str(BENCHMARKS / "prepare.py"), "--corpus", str(tmp_path / "nope")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    wanted = f"prepare.py: error: {tmp_path}/nope/train.en.gz: cannot be read (No such file or directory)\n"
    assert (done.returncode, done.stderr) == (1, wanted)


def test_a_figure_and_a_table_of_rows(tmp_path: Path) -> None:
    import plot

    story = {"machine": {"cpu": "x", "cores": 2, "memory_gib": 24.0, "gpus": []}, "versions": {}, "command": "this"}
    rows = [
        {"recipe": recipe, "pairs": pairs, "seconds": seconds, "cpu_seconds": 1.0, "load": 1.0, "peak_mb": 900}
        | story
        | {"stage_seconds": {"encode": seconds}}
        for recipe, pairs, seconds in (
            ("sentencepiece", 100_000, 20.0),
            ("sentencepiece", 300_000, 40.0),
            ("sentencepiece", 1_000_000, 90.0),
            ("moses_bpe_tools", 300_000, 320.0),
        )
    ]
    (tmp_path / "results").mkdir()
    (tmp_path / "results/prepare.json").write_text(json.dumps(rows))
    (tmp_path / "benchmarks.md").write_text("<!-- prepare.json -->\n<!-- end -->\n")
    plot.main(["--results", str(tmp_path / "results"), "--docs", str(tmp_path)])
    page = (tmp_path / "benchmarks.md").read_text()
    cells = [[cell.strip() for cell in line.split("|")] for line in page.splitlines() if "sentencepiece" in line]
    heads = page.split("\n| recipe")[1].split("\n")[0].count("|")
    assert {len(row) - 3 for row in cells} == {heads - 1}, "as many headers as columns"
    assert "(figures/prepare.svg)" in page and [row[2:5] for row in cells] == [
        ["300,000", "40.0", "8.0"],
        ["100,000", "20.0", ""],
        ["1,000,000", "90.0", ""],
    ]
    drawing = (tmp_path / "figures/prepare.svg").read_text()
    assert ">sentencepiece</text>" in drawing and ">moses_bpe_tools</text>" in drawing


@pytest.mark.slow
def test_rows_and_table(corpus: Path, tmp_path: Path) -> None:
    words = ["--corpus", str(corpus), "--vocab-size", "60", "--json", str(tmp_path / "rows.json")]
    prepare.main([*words, "--pairs", "300"])
    rows = prepare.main([*words, "--pairs", "300", "400", "--recipes", "sentencepiece", "--add"])
    assert rows == json.loads((tmp_path / "rows.json").read_text())
    assert sorted((row["pairs"], row["recipe"]) for row in rows) == [
        *((300, recipe) for recipe in sorted(prepare.RECIPES)),
        (400, "sentencepiece"),
    ]
    for row in rows:
        assert row["seconds"] > 0 and row["cpu_seconds"] > 0 and row["peak_mb"] > 10
        assert {"machine", "versions", "command"} <= row.keys()
    sizes = {row["recipe"]: row["train_bin_mb"] for row in rows if row["pairs"] == 300}
    assert sizes.keys() == prepare.RECIPES.keys()
    table = prepare.table(rows)
    assert table.count("\n") == 7 and "| 1.0 " in table
