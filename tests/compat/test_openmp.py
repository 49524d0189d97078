"""OpenMP's threads wait passively in fairseq's commands and lskd, unless a variable is set or torch is imported."""

from __future__ import annotations

import json
import os
import sys

import pytest

from fairseq_lskd import cli
from fairseq_lskd.compat import openmp

from .conftest import CHECKOUT, fairseq, python, run, succeeded

PRINT = "; import json, os; print(json.dumps({n: os.environ.get(n) for n in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')}))"
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
UNSET = dict.fromkeys(PASSIVE)


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for name in openmp.VARIABLES:
        monkeypatch.delenv(name, raising=False)


def variables_after(code: str, **environment: str) -> dict[str, str | None]:
    return json.loads(succeeded(python(code + PRINT, **environment)).splitlines()[-1])


#: Looks for fairseq as an import does, which loads the patches, but does not execute it.
FIND = "import sys, types; from importlib.util import find_spec"


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        (f"{FIND}; find_spec('fairseq')", PASSIVE),
        (f"{FIND}; find_spec('fairseq_cli')", PASSIVE),
        # Without fairseq nothing is set. After torch, the variables would have no effect.
        (f"{FIND}; find_spec('numpy')", UNSET),
        (f"{FIND}; sys.modules['torch'] = types.ModuleType('torch'); find_spec('fairseq')", UNSET),
    ],
)
def test_variables_after_imports(code, wanted):
    assert variables_after(code) == wanted


@pytest.mark.parametrize(
    "mine", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}, {"KMP_BLOCKTIME": "200"}], ids=str
)
def test_variables_of_the_user_are_kept(mine):
    found = variables_after(f"{FIND}; find_spec('fairseq')", **mine)
    assert found == UNSET | {n: v for n, v in mine.items() if n in UNSET}


def test_libgomp_reads_the_variables():
    """libgomp prints its settings at the start: in a command of fairseq, and without fairseq."""
    shown = fairseq("train", "--help", OMP_DISPLAY_ENV="VERBOSE").stderr
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in shown and "GOMP_SPINCOUNT = '0'" in shown
    assert "GOMP_SPINCOUNT = '0'" not in python("import torch", OMP_DISPLAY_ENV="VERBOSE").stderr


def test_commands_that_lskd_starts_have_the_variables(tmp_path):
    lskd = [sys.executable, "-m", "fairseq_lskd.cli", "run", "--out", str(tmp_path / "run"), "--"]
    child = [sys.executable, "-c", f"pass{PRINT}"]
    succeeded(run([*lskd, *child], cwd=CHECKOUT))
    assert json.loads((tmp_path / "run" / "log.txt").read_text()) == PASSIVE
    # Scripts compute only with lskd and fairseq's commands; torchrun's ranks are fairseq_cli.train.


def test_lskd_sets_the_variables_before_torch(monkeypatch):
    monkeypatch.setattr(openmp, "_ours", False)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    cli.main(["doctor", "--user-dir"])
    assert {name: os.environ.get(name) for name in PASSIVE} == PASSIVE
    assert "GOMP_SPINCOUNT=0" in openmp.describe(True) and "set by fairseq_lskd" in openmp.describe(True)
    for name in PASSIVE:
        monkeypatch.delenv(name)


def test_the_doctor_prints_the_policy(monkeypatch, capsys):
    monkeypatch.setattr(openmp, "_ours", False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert cli.main(["doctor"]) == 0
    assert "OpenMP waits   OMP_WAIT_POLICY=ACTIVE (from the environment)" in capsys.readouterr().out
