"""scripts/setup.sh, as far as it can be tested without an installation."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import CHECKOUT, run

SETUP = CHECKOUT / "scripts" / "setup.sh"


@pytest.mark.parametrize("script", ["setup.sh", "test_pythons.sh", "test_builds.sh"])
def test_syntax(script):
    subprocess.run(["bash", "-n", str(CHECKOUT / "scripts" / script)], check=True)


def test_a_python_that_does_not_run_is_named(tmp_path):
    done = run(["bash", str(SETUP)], PYTHON=str(tmp_path / "python"), LSKD_VENV=str(tmp_path / "venv"))
    assert done.returncode == 1
    assert f"PYTHON={tmp_path / 'python'} does not run or is older than 3.11" in done.stderr


def test_pythons_that_do_not_run_are_skipped(tmp_path):
    # pyenv's shims of versions that are not selected exist, but fail.
    for name in ("python3.11", "python3.12", "python3.13", "python3"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 127\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    done = run(["bash", str(SETUP)], PATH=path, PYTHON="", LSKD_VENV=str(tmp_path / "venv"))
    assert done.returncode == 1
    assert "no Python >= 3.11 was found (tried python3.11" in done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files of a checkout that the script reads."""
    (tmp_path / "scripts").mkdir()
    for name in ("setup.py", "pyproject.toml", "constraints.txt", "_fairseq_lskd_hook.py", "scripts/setup.sh"):
        (tmp_path / name).write_bytes((CHECKOUT / name).read_bytes())
    (tmp_path / "fairseq_lskd").mkdir()
    (tmp_path / "fairseq_lskd" / "__init__.py").write_bytes((CHECKOUT / "fairseq_lskd/__init__.py").read_bytes())
    return tmp_path


def test_a_failure_is_explained_and_the_next_call_continues(checkout):
    # No index and no wheels, as without a network.
    env = {"PYTHON": sys.executable, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(checkout / "none")}
    done = run(["bash", str(checkout / "scripts" / "setup.sh")], **env)
    assert done.returncode == 1
    assert "torch (the largest download)" in done.stdout
    assert "has no such version of torch" in done.stderr
    assert (checkout / ".venv" / "setup.log").exists()
    assert not (checkout / ".venv" / ".lskd-stamp").exists()
    # Leftovers of a killed pip are removed, and finished steps are not repeated.
    (site,) = (checkout / ".venv" / "lib").glob("python*/site-packages")
    (site / "half-1.0.dist-info").mkdir()
    again = run(["bash", str(checkout / "scripts" / "setup.sh")], **env)
    assert "removing the incomplete half-1.0.dist-info" in again.stdout
    assert not (site / "half-1.0.dist-info").exists()
    assert "virtual environment" not in again.stdout


def test_an_up_to_date_environment_is_fast(checkout):
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to(sys.executable)
    script = (checkout / "scripts" / "setup.sh").read_text()
    function = re.search(r"^wanted_stamp\(\) \{.*?^\}", script, re.M | re.S).group()
    stamp = subprocess.run(["bash", "-c", function + "\nwanted_stamp"], cwd=checkout, capture_output=True).stdout
    (checkout / ".venv" / ".lskd-stamp").write_bytes(stamp)
    start = time.monotonic()
    done = run(["bash", str(checkout / "scripts" / "setup.sh")], PYTHON="")
    assert done.stdout == "setup: .venv is up to date\n"
    assert time.monotonic() - start < 10
    # A change of pins, dependencies or the build needs a new set-up.
    for name in ("constraints.txt", "pyproject.toml", "setup.py", "_fairseq_lskd_hook.py", "fairseq_lskd/__init__.py"):
        before = (checkout / name).read_text()
        (checkout / name).write_text(f"{before}\n# changed\n")
        changed = run(["bash", str(checkout / "scripts" / "setup.sh")], PYTHON=str(checkout / "none"))
        assert changed.returncode == 1
        (checkout / name).write_text(before)
