"""Wrong options of fairseq-train in an experiment's YAML file are found before anything is trained."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fairseq_lskd.commands import option
from fairseq_lskd.experiments.options import wrong_options
from fairseq_lskd.experiments.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "scripts/recipes"
MINE = """
title: Mine
seeds: [1, 2]
teachers:
  - label_smoothing: [0.0, 0.1]
students:
  - method: none
  - method: word
    options: [--no-such-option 3, --kd-divergence reverse_kx, --kd-divergence reverse_kl]
  - method: [word, both]
    cache_bytes: 48
    options: --kd-divergence reverse_kl
  - method: sequence
    reference_weight: 0.3
    options: --kd-temperature 2
  - method: both
    cache_top_k: 8
    options: --kd-rest renormalise
"""


def plan(tmp_path: Path, text: str, scale: str = "smoke") -> Plan:
    (tmp_path / "mine.yaml").write_text(text)
    return Plan.read(str(tmp_path / "mine.yaml"), scale, ROOT / "experiments")


def test_every_wrong_option_is_named_with_its_students(tmp_path: Path) -> None:
    found = wrong_options(plan(tmp_path, MINE), RECIPES)
    facts = [
        ("word-0.0-no-such-option-3, word-0.1-no-such-option-3: ", "--no-such-option 3"),
        ("word-0.0-kd-divergence-reverse-kx, word-0.1-kd-divergence-reverse-kx: ", "'reverse_kx'"),
        ("word-cached-48B-0.0-kd-divergence-reverse-kl, ", "both-cached-48B-0.1-kd-divergence-reverse-kl: --kd-div"),
        ("seq-0.0-ref0.3-kd-temperature-2, ", "--kd-temperature 2.0 has no effect without a teacher"),
    ]
    assert len(found) == len(facts)
    for problem, (students, fact) in zip(found, facts, strict=True):
        assert problem.startswith(f"students: {students}") and fact in problem


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would be checked."""
    found: list[list[str]] = []
    run = subprocess.run

    def answer(words: list[str], input: str | None = None, **options: Any) -> subprocess.CompletedProcess:
        if input is None:
            return run(words, **options)
        found.extend(json.loads(input))
        return subprocess.CompletedProcess(words, 0, json.dumps([[] for _ in found]))

    monkeypatch.setattr("subprocess.run", answer)
    return found


@pytest.mark.parametrize("text", [MINE, MINE.replace("title: Mine", "title: Mine\ntrain: [--max-update, 3]")])
def test_each_training_is_asked_for_once_and_only_if_the_file_has_options(
    tmp_path: Path, text: str, asked: list[list[str]]
) -> None:
    assert wrong_options(plan(tmp_path, text), RECIPES) == []
    every = "--max-update" in text
    assert len(asked) == 2 * 7 + (3 if every else 0)  # the teachers, and the student without one
    assert all(option(words, "--optimizer") == "adam" and option(words, "--arch") for words in asked)
    assert sum(words[0] == "--sampled" for words in asked) == 4
    assert all((option(words, "--max-update") == "3") == every for words in asked)
    asked.clear()
    assert wrong_options(plan(tmp_path, MINE.partition("  - method: word")[0]), RECIPES) == [] == asked


@pytest.mark.parametrize("recipe", sorted(path.stem for path in RECIPES.glob("*.sh")))
def test_the_recipe_is_part_of_the_command(tmp_path: Path, recipe: str, asked: list[list[str]]) -> None:
    text = MINE + f"scales:\n  mine: {{corpus: own, languages: [a, b], recipe: {recipe}, train: [--seed, 1]}}\n"
    assert wrong_options(plan(tmp_path, text, "mine"), RECIPES) == []
    untaught, taught = asked[2], asked[3]
    assert option(taught, "--optimizer") == "adam" and option(untaught, "--lr-scheduler")
    if recipe == "multi30k":  # only students with a teacher have the options of `distilled`
        assert (option(untaught, "--dropout"), option(taught, "--dropout")) == ("0.1", "0.0")
