"""Tests of the example that adds noise to a student's training pairs, with a stand-in for OpusTrainer."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "noise.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("noise_example", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def opustrainer(tmp_path: Path) -> Path:
    """A program with OpusTrainer's call, which writes both columns in capitals."""
    program = tmp_path / "opustrainer"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        "config = json.load(open(sys.argv[sys.argv.index('--config') + 1]))\n"
        "assert config['modifiers'] == [{'UpperCase': 1.0}] and sys.argv[-1] == 'cat'\n"
        "print(open(config['datasets']['pairs'], encoding='utf-8').read().upper(), end='')\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return program


def test_both_sides_keep_their_order(example: ModuleType, opustrainer: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "upper"
    example.noise(opustrainer, {"UpperCase": 1.0}, ["ein", "zwei\u2028drei"], ["one", "two"], out, ["de", "en"])
    assert out.with_name("upper.de").read_bytes() == "EIN\nZWEI\u2028DREI\n".encode()
    assert out.with_name("upper.en").read_text() == "ONE\nTWO\n"
    example.noise("/nowhere", {}, [], [], out, ["de", "en"])  # finished before
    assert out.with_name("upper.en").read_text() == "ONE\nTWO\n"


def test_a_lost_line_is_refused(example: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="wrote 0 lines for 1 pairs"):
        example.noise("true", {"Typos": 1.0}, ["ein"], ["one"], tmp_path / "typos", ["de", "en"])
    assert not (tmp_path / "typos.de").exists()


def test_pieces_are_joined(example: ModuleType) -> None:
    assert example.text_of("▁Ein ▁H und .") == "Ein Hund."


def test_a_missing_student_is_named(tmp_path: Path) -> None:
    call = [sys.executable, EXAMPLE, "--data", tmp_path, "--student", tmp_path / "seq"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and f"{tmp_path}/seq-data/selected/select.json: not found" in done.stderr


def test_the_settings_are_json(example: ModuleType, opustrainer: Path, tmp_path: Path) -> None:
    example.noise(opustrainer, {"UpperCase": 1.0}, ["ein"], ["one"], tmp_path / "a", ["de", "en"])
    settings = json.loads((tmp_path / "a.yml").read_text())
    assert settings["all"] == ["pairs 1.0", "until pairs 1"] and settings["seed"] == 1
