"""Tests of the GPU benchmarks: checks, limits of time and memory, rows and tables."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import BENCHMARKS

from gpu import check, experiment, pack, packed, run, stages, tables  # isort: skip  # importable because of conftest

ROW = {"check": "loss", "what": "forward_kl", "precision": "float32", "part": "hidden", "limit": 1e-4}
FORM = {
    **{"part": "forms", "impl": "fused", "tokens": 8, "vocab": 9, "dtype": "bfloat16", "seconds_median": 0.002},
    **{"seconds_quartiles": [0.001, 0.003], "time_to_plain_median": 0.5, "time_to_best_reference": None},
    **{"floor_seconds": 0.001, "time_to_floor": 2.0, "peak_units": 0.2, "peak_units_allocator": None},
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A packed folder for this Python with one wheel."""
    monkeypatch.setenv("LSKD_GPU_CALLED_IN", str(tmp_path))
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "a.whl").write_bytes(b"1234")
    here = ".".join(map(str, sys.version_info[:2]))
    facts = {"there": {"python": here, "pip": ""}, "files": {"a.whl": {"bytes": 4, "sha256": ""}}}
    (tmp_path / "pack" / "manifest.json").write_text(json.dumps(facts))
    return tmp_path


def test_wheels_have_pinned_versions_and_replace_no_installed_package():
    names = {line.partition("==")[0].lower() for line in packed.wheels()}
    assert {"fairseq", "hydra-core", "omegaconf", "snakemake", "bitarray"} <= names
    assert not names & set(packed.there()) and "torch" not in names and "numpy" not in names


def test_a_rehearsal_passes_the_check(folder, capsys):
    check.main(["out", "--rehearse", "--pack", "pack"])
    assert capsys.readouterr().out == f"{folder / 'pack'}\n"


def change(folder, **more):
    path = folder / "pack" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({"python": "3.9"}, ["python has version 3.", "expected 3.9"]),
        ({"torch": "1.0.0"}, ["torch has version ", "expected 1.0.0"]),
        ({"numpy": "1.26"}, ["numpy has version 2", "expected 1.26"]),
        ({"no-such-thing": ""}, ["no-such-thing is not installed"]),
    ],
)
def test_other_versions_are_refused(folder, there, words):
    change(folder, there=there)
    with pytest.raises(SystemExit) as error:
        check.main(["out", "--rehearse", "--pack", "pack"])
    assert all(word in str(error.value) for word in words)
    assert not (folder / "out").exists()


def test_another_minor_version_of_numpy_is_accepted():
    assert check.other_versions({"numpy": "2.0.0"}) == []


def test_missing_and_incomplete_packed_folders(folder):
    with pytest.raises(SystemExit, match=r"pack\.sh"):
        check.main(["out", "--rehearse", "--pack", "elsewhere"])
    (folder / "pack" / "a.whl").write_bytes(b"12")
    with pytest.raises(SystemExit, match=r"a\.whl is missing or incomplete"):
        check.main(["out", "--rehearse", "--pack", "pack"])


@pytest.mark.skipif(
    os.environ.get("CUDA_VISIBLE_DEVICES") is None and Path("/dev/nvidia0").exists(), reason="has a GPU"
)
def test_without_a_gpu(folder):
    with pytest.raises(SystemExit, match=r"no GPU here.*--rehearse"):
        check.main(["out", "--pack", "pack"])


def test_unknown_stages(capsys):
    with pytest.raises(SystemExit):
        stages.options(["out", "--stages", "loss,los"])
    assert "stages los, expected exact, loss" in capsys.readouterr().err
    assert stages.options(["out", "--stages", "loss,exact"]).stages == ["exact", "loss"]


def test_a_stage_that_does_not_fit_is_skipped_with_its_memory():
    students = stages.STAGES["students"]
    assert stages.too_large(students, 80 * 2**30) is None and stages.too_large(students, None) is None
    assert "needs 40 GiB" in stages.too_large(students, 16 * 2**30)


@pytest.mark.parametrize(
    ("program", "status", "least"),
    [
        ("raise SystemExit(0)", "done", 0),
        ("raise SystemExit(3)", "failed", 0),
        ("import time; time.sleep(60)", "out of time", 1),
    ],
)
def test_stages_end(tmp_path, monkeypatch, program, status, least):
    """Children end too, and the next stage can begin in any case."""
    (tmp_path / "gpu").mkdir()
    (tmp_path / "gpu" / "__init__.py").write_text("")
    (tmp_path / "gpu" / "exact.py").write_text(
        f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n{program}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    begun = time.time()
    found = run.run(stages.STAGES["exact"], tmp_path, tmp_path, True, 1.5, tmp_path / "log.txt")
    assert found["status"] == status and found["seconds"] >= least and time.time() - begun < 30
    assert "== exact" in (tmp_path / "log.txt").read_text()
    left = subprocess.run(["pgrep", "-f", "import time; time.sleep[(]60[)]"], capture_output=True, text=True)
    assert left.stdout == ""


@pytest.mark.parametrize(
    ("program", "seconds", "enough", "status"),
    [
        ("raise SystemExit(3)", 20, False, 3),
        ("import time; time.sleep(60)", 1, False, None),
        ("import time; time.sleep(60)", 20, True, None),
    ],
)
def test_the_workflow_runs_until_it_ends_or_is_stopped(program, seconds, enough, status):
    begun = time.time()
    assert experiment.follow([sys.executable, "-c", program], seconds, True, lambda: enough) == status
    assert time.time() - begun < 15


def test_tables_of_passed_failed_and_nan_rows():
    rows = [
        ROW | {"error": 1e-6, "ok": True},
        ROW | {"error": None, "ok": False},
        ROW | {"ok": False, "failed": "E: x"},
    ]
    assert "1 of 3" in tables.table("exact", rows) and "not a number" in tables.table("exact", rows)
    text = tables.table("loss", [FORM, FORM | {"impl": "plain", "failed": "out of memory"}])
    assert "8 tokens x 9 types, bfloat16" in text and "out of memory" in text and "2.00" in text
    assert tables.table("teachers", []) == ""


def test_a_too_large_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "LIMIT", 10)
    (tmp_path / "large").write_bytes(b"x" * 11)
    with pytest.raises(pack.UserError, match=r"more than the .*wheels\.txt"):
        pack.finish(tmp_path, {"corpora": {}})


def test_another_folder_is_not_touched(tmp_path):
    (tmp_path / "mine").write_text("")
    with pytest.raises(pack.UserError, match="not a packed folder"):
        pack.pack(tmp_path, None, sys.executable)
    with pytest.raises(pack.UserError, match="europarl-en-fr"):
        pack.pack(tmp_path / "new", tmp_path, sys.executable)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("script", ["pack.sh", "run.sh"])
def test_help_needs_nothing(script):
    done = subprocess.run([BENCHMARKS / "gpu" / script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and f"benchmarks/gpu/{script}" in done.stdout


def test_the_packed_checkout_has_what_the_stages_need() -> None:
    names = set(pack.source_files())
    assert {"setup.py", "benchmarks/gpu/run.sh", "scripts/recipes/quickstart.sh"} <= names
    # Tables and pictures would fill the packed folder.
    assert not any(name.startswith("docs/results/") for name in names)
