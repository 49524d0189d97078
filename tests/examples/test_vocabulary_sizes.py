"""Tests of examples/vocabulary_sizes: the report, and wrong options of train.sh."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from size_report import Pair, read_pairs, section, trend

from fairseq_lskd.analysis.tail import Buckets, match_words
from fairseq_lskd.errors import UserError

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "vocabulary_sizes"

WORDS = [f"w{i}" for i in range(50)]


def spoilt(lines: list[list[str]], share: float, seed: int) -> list[list[str]]:
    chance = random.Random(seed)
    return [[word if chance.random() > share else "wrong" for word in line] for line in lines]


def references() -> list[list[str]]:
    chance = random.Random(1)
    return [chance.choices(WORDS, k=10) for _ in range(150)]


def make(folder: Path, shares: dict[int, tuple[float, float]]) -> Path:
    """Write runs of teachers by vocabulary size, with shares of wrong words (not smoothed, smoothed)."""
    lines = references()
    (folder / "test.en").write_text("\n".join(map(" ".join, lines)) + "\n")
    for size, both in shares.items():
        for smoothing, share in zip((0.0, 0.1), both, strict=True):
            run = folder / "runs" / f"v{size}" / f"teacher-{smoothing}"
            (run / "test").mkdir(parents=True)
            record = {"system": run.name, "role": "teacher", "teacher_smoothing": smoothing, "bleu": 100 * (1 - share)}
            (run / "result.json").write_text(json.dumps(record))
            (run / "dict.en.txt").write_text("".join(f"t{i} 1\n" for i in range(size - 4)))
            said = spoilt(lines, share, seed=size)
            (run / "test" / "hypotheses.en").write_text("\n".join(map(" ".join, said)) + "\n")
    return folder


def test_the_trend_by_hand() -> None:
    lines = [["a", "b"]] * 20
    wrong = [["a", "x"]] * 20
    right, half = (match_words(said, lines, Buckets({})) for said in (lines, wrong))
    pairs = [Pair(100, right, right, (0, 0)), Pair(200, right, half, (0, 0)), Pair(400, right, half, (0, 0))]
    found = trend(pairs)
    # The differences are 0, -50 and -50 at 0, 1 and 2 doublings: the least-squares slope is -25.
    assert [gap.value for gap in found.changes] == [0, -50, -50]
    assert (found.per_doubling.value, found.per_doubling.high) == pytest.approx((-25, -25))
    with pytest.raises(UserError, match="1 vocabulary size, expected at least two"):
        trend(pairs[:1])


def test_smoothing_that_hurts_more_with_more_classes(tmp_path: Path) -> None:
    make(tmp_path, {100: (0.3, 0.28), 200: (0.3, 0.33), 400: (0.3, 0.4)})
    found = section(tmp_path / "runs", tmp_path / "test.en")
    assert found.words[0].startswith("Label smoothing hurts more with more classes: held.")
    sizes, slope = found.tables
    assert [row[0] for row in sizes.rows] == [100, 200, 400] and slope.rows[0][-1] == "held"
    assert sizes.rows[2][1:3] == (70, 60) and sizes.rows[0][5] > 0 > sizes.rows[2][5]
    assert len(found.pictures[0].figure.axes) == 1


def test_weak_teachers_leave_the_claim_undecided(tmp_path: Path) -> None:
    make(tmp_path, {100: (0.3, 0.3), 200: (0.3, 0.95)})
    found = section(tmp_path / "runs", tmp_path / "test.en")
    words = found.words
    assert found.tables[1].rows[0][-1] == "undecided" and found.tables[1].rows[0][3] < 0
    assert any("teachers with 200 types are below 10 BLEU" in said for said in words)


def test_equal_teachers_are_undecided(tmp_path: Path) -> None:
    make(tmp_path, {100: (0.3, 0.3), 200: (0.3, 0.3)})
    assert section(tmp_path / "runs", tmp_path / "test.en").tables[1].rows[0][-1] == "undecided"


def test_missing_files_and_other_test_sets_are_refused(tmp_path: Path) -> None:
    make(tmp_path, {100: (0.3, 0.3)})
    runs, target = tmp_path / "runs", tmp_path / "test.en"
    (tmp_path / "other.en").write_text("a\n")
    with pytest.raises(UserError, match=r"hypotheses\.en: found 150 translations for 1 references.* in .*other\.en"):
        read_pairs(runs, tmp_path / "other.en")
    (runs / "v100" / "teacher-0.1" / "dict.en.txt").unlink()
    with pytest.raises(UserError, match=r"expected one file dict\.en\.txt, found 0; score the run"):
        read_pairs(runs, target)
    (runs / "v100" / "teacher-0.1" / "result.json").unlink()
    with pytest.raises(UserError, match="no vocabulary size with teachers with and without label smoothing"):
        read_pairs(runs, target)


def test_the_report_has_a_page_tables_and_a_plot(tmp_path: Path) -> None:
    make(tmp_path, {100: (0.3, 0.28), 200: (0.3, 0.33)})
    words = ["runs", "--references", "test.en", "--out", "report"]
    done = subprocess.run(
        [sys.executable, EXAMPLE / "size_report.py", *words], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "README.md").read_text() == done.stdout.removesuffix("\n")
    assert (tmp_path / "report" / "vocabulary.csv").read_text().splitlines()[1].startswith("100,70,72,")


def test_a_folder_without_runs_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "test.en").write_text("a\n")
    words = [".", "--references", "test.en", "--out", "report"]
    done = subprocess.run(
        [sys.executable, EXAMPLE / "size_report.py", *words], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "no vocabulary size with teachers with and without label smoothing" in done.stderr
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--corpus", "x"], "--corpus x: expected generated or multi30k"),
        (["--raw", "/tmp"], "--raw needs --corpus multi30k"),
        (["--sizes", "200"], "--sizes 200: expected at least two"),
        (["--sizes", "200 4k"], "--sizes 200 4k: expected numbers"),
        (["--updates", "9"], "--updates 9: expected at least 30"),
        (["--updates", "many"], "--updates many: expected a number"),
        (["--label-smoothing", "1.5"], "--label-smoothing 1.5: expected a number between 0 and 1"),
        (["--seed"], "--seed needs a value (see --help); is a variable empty?"),
        (["--bogus", "1"], "unknown option --bogus (see --help)"),
    ],
)
def test_wrong_options_are_refused_before_any_training(words: list[str], message: str) -> None:
    done = subprocess.run(["bash", EXAMPLE / "train.sh", *words], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"train.sh: error: {message}\n")


def test_help() -> None:
    done = subprocess.run(["bash", EXAMPLE / "train.sh", "--help"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "label smoothing" in done.stdout.splitlines()[0]
    assert all(f" {flag} " in done.stdout for flag in ("--corpus", "--raw", "--sizes", "--updates", "--name"))
