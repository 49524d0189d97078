"""An experiment as one command: killed on the way, gone on with, and only what changed run again."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from fairseq_lskd.scoring.remarks import warnings

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".venv" / ".lskd-stamp").exists(), reason="scripts/setup.sh has not made .venv"),
]

EXPERIMENT = """
title: A tiny experiment
seeds: [1, 2]
teachers:
  - label_smoothing: 0.1
students:
  - method: word
    cached: true
  - method: sequence
scales:
  tiny:
    corpus: generated
    languages: [xx, yy]
    prepare: [--pairs, 200, --valid, 20, --test, 200, --vocab-size, 200]
    data: tiny
    recipe: smoke
    seeds: [1]
    train: [--max-update, 6, --log-interval, 2, --save-interval-updates, 2, --warmup-updates, 2]
"""
#: With a student that has no teacher, and none at sequence level.
COMPARED = EXPERIMENT.replace("  - method: sequence\n", "").replace(
    "  - method: word", "  - method: none\n  - method: word"
)
SYSTEMS = ["teacher-0.1-s1", "word-cached-0.1-s1", "seq-0.1-s1"]


class Experiment:
    def __init__(self, home: Path):
        self.home = home
        self.results = home / "runs" / "tiny" / "results" / "mine"
        self.yaml = home / "mine.yaml"
        self.yaml.write_text(EXPERIMENT, encoding="utf-8")
        words = ["scripts/experiment.sh", str(self.yaml), "--scale", "tiny", "--directory", str(home)]
        self.command = [str(ROOT / words[0]), *words[1:]]
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

    def run(self, *words: str) -> str:
        command = [*self.command, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=self.environment)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        return done.stdout + done.stderr

    def kill_when(self, made: Path) -> None:
        """Start it, and kill all of it, without a warning, once a file is there."""
        process = subprocess.Popen(
            self.command,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + 600
        while not made.exists():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (self.results / "results.json").exists()

    def finished(self) -> dict[str, str]:
        """When each of the trainings was finished."""
        runs = self.home / "runs" / "tiny"
        return {name: json.loads((runs / name / "run.json").read_text())["finished"] for name in SYSTEMS}

    def rows(self) -> list[dict[str, Any]]:
        return json.loads((self.results / "results.json").read_text(encoding="utf-8"))


def jobs(said: str) -> dict[str, int]:
    """How many jobs of each rule a dry run announces."""
    found = re.findall(r"^(train|cache|translate|score|speed|report|analyse|prepare) +(\d+)$", said, flags=re.MULTILINE)
    return {rule: int(count) for rule, count in found}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """One that was killed twice and then ended."""
    made = Experiment(tmp_path_factory.mktemp("experiment"))
    assert jobs(made.run("--dry-run"))["train"] == 3 and not (made.home / "runs").exists()
    runs = made.home / "runs" / "tiny"
    made.kill_when(runs / SYSTEMS[0] / "checkpoint_1_2.pt")
    made.kill_when(runs / SYSTEMS[1] / "log.txt")
    made.said = made.run()
    return made


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """One that nothing interrupted, with a student to compare the teacher with."""
    made = Experiment(tmp_path_factory.mktemp("compared"))
    made.yaml.write_text(COMPARED, encoding="utf-8")
    made.said = made.run()
    return made


def test_it_ends_in_a_table_and_pictures(experiment: Experiment) -> None:
    rows = experiment.rows()
    assert [row["system"] for row in rows] == SYSTEMS
    for row in rows:
        assert row["parameters"] > 1000 and row["sentences_per_second"] > 0 and row["train_seconds"] > 0
        assert row["seed"] == 1 and row["signature"].startswith("nrefs:16|")
        # Twice: as fairseq decodes it, and as `lskd export` ships it.
        exported = row["exported"]
        assert exported["compute_type"] == "int8" and exported["sentences_per_second"] > 0
        assert exported["bytes"] < 4 * row["parameters"] + 500_000 and abs(exported["chrf"] - row["chrf"]) < 10
    assert (rows[1]["cached"], rows[1]["method"], rows[2]["method"]) == (True, "word", "sequence")
    assert rows[1]["train_kd_loss"] > 0 and "train_kd_loss" not in rows[0]
    table = (experiment.results / "table.md").read_text(encoding="utf-8")
    assert "| word-cached-0.1 |" in table and "sent/s" in table and rows[0]["signature"] in table
    assert "word-cached-0.1" in experiment.said and "0.1" in (experiment.results / "table.tex").read_text()
    with (experiment.results / "results.csv").open(encoding="utf-8") as stream:
        assert [row["bleu"] for row in csv.DictReader(stream)] == [str(row["bleu"]) for row in rows]
    assert "No two systems" in (experiment.results / "differences.md").read_text(encoding="utf-8")
    for name in ("quality.svg", "curves.svg"):
        assert "<svg" in (experiment.results / name).read_text(encoding="utf-8")
    assert "teacher-0.1" in (experiment.results / "analysis" / "report.html").read_text(encoding="utf-8")
    assert "word-cached-0.1-s1,6,valid_ppl," in (experiment.results / "curves.csv").read_text(encoding="utf-8")


def test_what_was_killed_has_the_same_end_as_what_was_not(experiment: Experiment, compared: Experiment) -> None:
    # A checkpoint of fairseq's holds times, and parameters that nothing sets or uses.
    timed = ("train_seconds", "sentences_per_second", "speed_machine", "speed_others_cores", "checkpoint_sha256")
    timed += ("teacher_sha256",)

    def killed(made: Experiment) -> list[dict[str, Any]]:
        """The rows of the two trainings that were killed, without what differs from time to time."""
        rows = [row for row in made.rows() if row["system"] in SYSTEMS[:2]]
        fixed = [{key: value for key, value in row.items() if key not in timed} for row in rows]
        for row in fixed:
            row["exported"] = {key: value for key, value in row["exported"].items() if key not in timed}
        return fixed

    assert killed(experiment) == killed(compared) and len(killed(compared)) == 2


def test_called_again_it_runs_nothing(experiment: Experiment) -> None:
    before = experiment.finished()
    said = experiment.run()
    assert "Nothing to be done" in said and "word-cached-0.1" in said
    assert experiment.finished() == before


def test_only_what_depends_on_a_change_runs_again(experiment: Experiment) -> None:
    before = experiment.finished()
    changed = EXPERIMENT.replace("    cached: true\n", "    cached: true\n    kd_weight: [0.5, 0.9]\n")
    experiment.yaml.write_text(changed.replace("seeds: [1, 2]", "seeds: [1]"), encoding="utf-8")
    said = experiment.run("--dry-run")
    # Students with the weight in their names; the teacher, its cache and its translations stay.
    assert jobs(said) == {"train": 2, "score": 2, "speed": 1, "report": 1, "analyse": 1}
    experiment.run()
    assert experiment.finished() == before
    systems = [row["system"] for row in experiment.rows()]
    assert systems == ["teacher-0.1-s1", "word-cached-0.1-w0.5-s1", "word-cached-0.1-w0.9-s1", "seq-0.1-s1"]


def test_another_option_trains_anew_what_it_is_given_to(experiment: Experiment) -> None:
    before = experiment.finished()
    experiment.yaml.write_text(EXPERIMENT.replace("[--max-update, 6,", "[--max-update, 8,"), encoding="utf-8")
    experiment.run()
    assert all(time > before[name] for name, time in experiment.finished().items())
    assert "word-cached-0.1-s1,8,valid_ppl," in (experiment.results / "curves.csv").read_text(encoding="utf-8")


def test_a_teacher_is_compared_before_its_students_are_trained(compared: Experiment) -> None:
    said, rows = compared.said, compared.rows()
    teacher, student = (f"runs/tiny/{system}/result.json" for system in ("teacher-0.1-s1", "student-s1"))
    assert said.index(f"lskd table {teacher} {student}") < said.index("scripts/distill_word.sh")
    assert len(rows) == 3
    # So early in a training either may be better.
    for warning in warnings(rows):
        assert warning in said.partition("train KD")[0] and warning in (compared.results / "table.md").read_text()
    # Scored again, a teacher is still the same.
    (compared.home / teacher).touch()
    assert "train" not in jobs(compared.run("--dry-run"))
    # What comes after the comparison is not forgotten.
    (compared.results / "results.json").unlink()
    assert "distill_word.sh" not in compared.run() and compared.rows() == rows


def test_two_at_once_are_kept_apart(experiment: Experiment) -> None:
    lock = experiment.home / ".experiment.lock"
    held = subprocess.Popen(["flock", str(lock), "sleep", "60"])
    time.sleep(0.5)
    try:
        done = subprocess.run(
            experiment.command, capture_output=True, text=True, timeout=60, env=experiment.environment
        )
    finally:
        held.kill()
    assert done.returncode == 1 and "already running in" in done.stderr


def test_the_message_of_a_failed_step_comes_last(tmp_path: Path) -> None:
    made = Experiment(tmp_path)
    made.yaml.write_text(EXPERIMENT.replace("--pairs, 200", "--pairs, 0"), encoding="utf-8")
    done = subprocess.run(made.command, capture_output=True, text=True, timeout=300, env=made.environment)
    last = done.stderr.partition("WorkflowError")[2]
    assert done.returncode == 1 and "lskd generate: error: --train 0" in last and "experiment.sh: error" in last


def test_another_raw_folder_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    splits = ("train", "valid", "test")
    for folder, word in (("right", "house"), ("wrong", "garden")):
        (tmp_path / folder).mkdir()
        for split, language in itertools.product(splits, ("xx", "yy")):
            lines = [f"{language} {split} the {word} number {number} is here\n" for number in range(60)]
            (tmp_path / folder / f"{split}.{language}").write_text("".join(lines), encoding="utf-8")
    corpus = tmp_path / "tiny.toml"
    corpus.write_text("\n".join(f'[[{split}]]\nplain = "{split}"' for split in splits), encoding="utf-8")
    made = Experiment(tmp_path)
    text = re.sub(r"prepare: .*", "prepare: [--vocab-size, 40]", EXPERIMENT)
    made.yaml.write_text(text.replace("corpus: generated", f"corpus: {corpus}"), encoding="utf-8")
    words = ["--name", "two words", "--", "--until", "prepare"]
    right, wrong = (["--raw", str(tmp_path / name), *words] for name in ("right", "wrong"))
    assert "Done, as far as you asked" in made.run(*right)
    marker = tmp_path / "data" / "tiny" / "prepared"
    before = marker.stat().st_mtime_ns
    done = subprocess.run([*made.command, *wrong], capture_output=True, text=True, timeout=300, env=made.environment)
    assert done.returncode == 1 and "created with different options or inputs" in done.stderr
    # The first call with the right folder compares the data, the second one does not have to.
    for compared in (True, False):
        said = made.run(*right)
        assert marker.stat().st_mtime_ns == before and not jobs(said)
        assert ("up to date" in said.partition("Assuming")[0].replace(".venv is up to date", "")) is compared, said
