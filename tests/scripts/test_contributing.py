"""The commands in CONTRIBUTING.md exist and are the ones that CI runs."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GITHUB = sorted((ROOT / ".github").rglob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def test_make_lists_its_commands() -> None:
    said = subprocess.run(["make", "-C", ROOT, "help"], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"make ([a-z-]+)", said)) == targets() - {"help"}


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", ".github/pull_request_template.md", ".pre-commit-config.yaml"])
def test_commands_that_pages_name_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert set(re.findall(r"`make ([a-z-]+)|^    make ([a-z-]+)", text, re.M)) <= {
        pair for target in targets() for pair in ((target, ""), ("", target))
    }
    for path in re.findall(r"\b(?:scripts|\.ci)/[\w./]+", text):
        assert (ROOT / path.rstrip(".")).exists(), path


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.name)
def test_workflow_files_are_valid_yaml(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_ci_runs_the_same_as_a_contributor_on_all_pythons() -> None:
    (job,) = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    assert job["steps"][-1]["run"] == ".ci/run"
    (versions,) = [step["with"]["python-version"].split() for step in job["steps"] if "python-version" in str(step)]
    prefix = "Programming Language :: Python :: 3."
    declared = {row.rpartition(" ")[2] for row in PROJECT["classifiers"] if row.startswith(prefix)}
    assert set(versions) == declared
    for script in ("release.sh", "test_pythons.sh"):
        default = re.search(r"\$\{PYTHONS:-([\d. ]+)\}", (ROOT / "scripts" / script).read_text())
        assert default and set(default[1].split()) == declared


def test_hooks_run_what_the_tests_run() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    suite = (ROOT / "scripts/test.sh").read_text()
    for hook in hooks:
        program = hook["entry"].split()[0].removeprefix(".venv/bin/")
        assert program == "bash" or re.search(rf"^{program} ", suite, re.M), program


def test_changelog_has_the_usual_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (.*)", text, re.M)
    assert versions[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version) for version in versions[1:])
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)", text, re.M)) <= kinds


def test_release_refuses_a_missing_python() -> None:
    done = subprocess.run(
        [ROOT / "scripts/release.sh"], env={"PYTHONS": "3.99", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.returncode == 1 and "3.99" in done.stderr and "PYTHONS" in done.stderr
