"""Tests of the benchmark of training speed at a small size."""

import json
import shlex
import subprocess
import sys

import pytest

from .conftest import BENCHMARKS

TINY = shlex.split("""--vocab 60 --sentences 60 --width 16 --ffn 16 --heads 2 --encoder-layers 1 --decoder-layers 1
    --max-tokens 200 --device cpu --threads 1 --updates 1 --blocks 2 --top-k 4""")


def run(tmp_path, *flags):
    path = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "student_throughput.py", *TINY, *flags, "--json", path],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text()), done


def check(rows):
    for row in rows:
        for name in ("tokens_per_second", "speed_to_none"):
            low, high = row[f"{name}_quartiles"]
            assert 0 < low <= row[f"{name}_median"] <= high
        assert row["device"] == "cpu" and row["vocab"] == 64 and row["max_tokens"] == 200
        assert row["teacher_parameters"] > row["student_parameters"] > 1000
        assert row["peak_rss_mib"] > 50 and row["peak_device_mib"] is None
        assert row["machine"]["cores"] >= 1 and row["versions"]["fairseq"] and row["blocks"] == 2
    assert rows[0]["teacher"] == "none" and rows[0]["speed_to_none_quartiles"] == [1, 1]


def test_a_row_of_each_teacher_has_spreads_and_sizes(tmp_path):
    rows, done = run(tmp_path, "--teachers", "none", "cached", "sampled")
    assert [(row["teacher"], row["criterion"]) for row in rows] == [
        ("none", "label_smoothed_cross_entropy"),
        ("cached", "word_kd"),
        ("sampled", "word_kd"),
    ]
    check(rows)
    assert "| sampled   | word_kd " in done.stdout and "9/9" in done.stderr


@pytest.mark.slow
def test_all_settings(tmp_path):
    rows, _ = run(tmp_path)
    assert [row["teacher"] for row in rows] == ["none", "none_ours", "online", "cached", "sampled"]
    check(rows)
