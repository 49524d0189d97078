"""Tests of busy_cores.py at a small size, and of its table."""

import json
import subprocess
import sys

import busy_cores
import pytest

from .conftest import BENCHMARKS


def test_a_row_of_each_neighbour_policy_and_form_has_spreads(tmp_path):
    path = tmp_path / "rows.json"
    sizes = {"tokens": 32, "vocab": 64, "student-width": 8, "teacher-width": 8, "threads": 1, "rounds": 2}
    flags = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, BENCHMARKS / "busy_cores.py", *flags, "--json", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = json.loads(path.read_text())
    assert {(row["neighbour"], row["policy"], row["form"]) for row in rows} == {
        (neighbour, policy, form)
        for neighbour in ("idle", "busy")
        for policy in ("default", "passive")
        for form in ("fused", "plain")
    }
    for row in rows:
        for name in ("seconds", "cpu_seconds", *["fused_to_plain"] * (row["form"] == "fused")):
            low, high = row[f"{name}_quartiles"]
            assert 0 < low <= row[f"{name}_median"] <= high
        assert row["rounds"] == 2 and row["vocab"] == 64 and row["machine"]["cores"] >= 1
    assert "Target: " in done.stdout and done.stdout.count("| busy ") == 2


@pytest.mark.parametrize(("share", "verdict"), [(0.88, "met (1.10)"), (0.9, "missed (1.12)")])
def test_a_target_is_met_or_missed_by_the_ratio_of_shares(share, verdict):
    rows = [
        {"neighbour": neighbour, "policy": policy, "form": form, "seconds_median": 1.0, "cpu_seconds_median": 1.0}
        | {"tokens": 8, "vocab": 8, "dtype": "float32", "threads": 1, "rounds": 1, "fused_to_plain_quartiles": [1, 1]}
        | {"fused_to_plain_median": share if (neighbour, policy) == ("busy", "passive") else 0.8}
        for neighbour in ("idle", "busy")
        for policy in ("default", "passive")
        for form in ("fused", "plain")
    ]
    assert verdict in busy_cores.table(rows)
