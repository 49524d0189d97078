"""Estimated hours of an experiment: kinds of jobs, the order of jobs, and the sums, checked by hand."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prepared import prepare

from fairseq_lskd.data.binarise import binarise
from fairseq_lskd.errors import UserError
from fairseq_lskd.experiments import hours
from fairseq_lskd.experiments.excerpt import train_tokens, write_excerpt
from fairseq_lskd.experiments.hours import Job, Rate
from fairseq_lskd.experiments.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
INNER = '2026-01-01 10:00:00 | INFO | train_inner | {"epoch": 1, "wps": "%s", "wpb": "%s", "num_updates": "%d"}\n'
DONE = float("inf")


def plan(name: str, scale: str, **more: Any) -> Plan:
    return Plan.read(name, scale, ROOT / "experiments", **more)


def test_trainings_of_the_same_speed_are_one_kind() -> None:
    kinds: dict[str, list[str]] = {}
    for job in hours.jobs_of(plan("methods", "cpu")).values():
        kinds.setdefault(job.kind, []).append(job.name)
    assert {kind: len(names) for kind, names in kinds.items()} == {
        **{"teacher": 6, "student": 3, "student word of teacher": 6, "student word cached": 6},
        **{"student sequence": 18, "student both of teacher": 6, "cache by teacher": 6, "translations by teacher": 6},
    }
    kinds_of_sizes = {job.kind for job in hours.jobs_of(plan("sizes", "small")).values()}
    assert {"teacher large", "student small word of teacher large", "student word of teacher"} <= kinds_of_sizes
    cached = hours.jobs_of(plan("methods", "medium"))["both-cached-0.1-w1-s1"]
    assert cached.kind == "student both cached of teacher"
    assert set(cached.needs) == {"translations-teacher-0.1-s1", "teacher-0.1-s1", "student-s1"}


def test_one_of_each_kind_is_measured_after_what_it_needs() -> None:
    found = hours.stages(hours.jobs_of(plan("methods", "medium-tatoeba")))
    assert [[job.name for job in stage] for stage in found] == [
        ["teacher-0.1-s1", "student-s1"],
        ["cache-T1-teacher-0.1-s1", "translations-teacher-0.1-s1"],
        ["word-cached-0.1-w1-s1", "seq-0.1-s1", "both-cached-0.1-w1-s1"],
    ]
    # Jobs that it needs are measured too, even if another job is the first of their kind.
    jobs = {"a": Job("a", "x"), "b": Job("b", "x"), "c": Job("c", "y", ("b",))}
    assert [[job.name for job in stage] for stage in hours.stages(jobs)] == [["a", "b"], ["c"]]
    assert hours.stages({}) == []


def test_seconds_are_the_median_after_the_first_updates() -> None:
    # 8, then 2, 4 and 9 seconds per update.
    log = "".join(INNER % (100 / s, 100, i) for i, s in enumerate((8, 2, 4, 9), start=2))
    assert hours.seconds_an_update(f"something else\n{log}") == pytest.approx(4)
    with pytest.raises(UserError, match="1 updates"):
        hours.seconds_an_update("".join(log.splitlines(keepends=True)[:1]))


def test_the_recipes_max_update_comes_before_that_of_the_measurement() -> None:
    words = ["--max-update", "900", "--seed", "1"]
    assert hours.updates_of([*words, *hours._TRAIN]) == 900
    assert hours.updates_of([*words, "--max-update", "700", *hours._TRAIN]) == 700


def test_hours_of_a_job_by_hand() -> None:
    rate = Rate(2.0, 1800, "update", before=3600)
    assert (rate.hours(), rate.hours(900), rate.hours(DONE)) == (2.0, 0.5, 0.0)


def test_the_table_by_hand() -> None:
    """A finished teacher of 1 h, translations of 0.5 h, and two students of 2 h, one of which is half done."""
    jobs = {
        "t": Job("t", "teacher"),
        "n": Job("n", "translations", ("t",)),
        **{name: Job(name, "student", ("n",)) for name in ("a", "b")},
    }
    rates = {
        "teacher": Rate(3.6, 1000, "update"),
        "translations": Rate(0.001, 1_800_000, "token"),
        "student": Rate(7.2, 1000, "update"),
    }
    done = {"t": DONE, "n": 0.0, "a": 500.0, "b": 0.0}
    left = {name: rates[job.kind].hours(done[name]) for name, job in jobs.items()}
    assert left == {"t": 0.0, "n": 0.5, "a": 1.0, "b": 2.0}
    assert hours.longest_chain(jobs, lambda job: left[job.name]) == 2.5
    rows = [line.split("  ") for line in hours.table(jobs, rates, done, 2).splitlines()]
    cells = {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in rows if row}
    assert cells["teacher"] == ["1", "1", "3.6 s per update", "1,000 updates", "1.00", "0.00"]
    assert cells["translations"] == ["1", "1,000 tokens/s", "1,800,000 tokens", "0.50", "0.50"]
    assert cells["student"] == ["2", "7.2 s per update", "1,000 updates", "2.00", "3.00"]
    # First nothing else runs; then the three kinds get 0.4, 1 and 0.1 of their cores' time.
    assert "cores' time" not in hours.table(jobs, rates, done, 2)
    busy = rates | {"student": Rate(7.2, 1000, "update", share=0.1), "teacher": Rate(3.6, 1000, "update", share=0.4)}
    assert "50% of their cores' time" in hours.table(jobs, busy, done, 2)
    assert "cores' time" not in hours.table(jobs, busy, done, 2, gpu=True)
    # 3.5 hours of jobs are 1.75 for two at once, but the longest chain takes 2.5.
    (said,) = [line for line in hours.table(jobs, rates, done, 2).splitlines() if "Estimate" in line]
    assert "2.5 hours with 2 jobs" in said and "3.5 hours for all jobs" in said
    assert "3.5 hours with 1 job " in hours.table(jobs, rates, done, 1)


def test_finished_units_are_read_from_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = plan("methods", "medium")
    jobs = hours.jobs_of(found)
    run = tmp_path / found.runs / "teacher-0.1-s1"
    run.mkdir(parents=True)
    assert hours.done_of(found, jobs["teacher-0.1-s1"]) == 0
    (run / "log.txt").write_text("".join(INNER % (1, 1, update) for update in (20, 40)))
    assert hours.done_of(found, jobs["teacher-0.1-s1"]) == 40
    (run / "checkpoint_average.pt").touch()
    assert hours.done_of(found, jobs["teacher-0.1-s1"]) == DONE
    (tmp_path / found.runs / "translations-teacher-0.1-s1").mkdir()
    (tmp_path / found.runs / "translations-teacher-0.1-s1/done").touch()
    assert hours.done_of(found, jobs["translations-teacher-0.1-s1"]) == DONE
    assert hours.done_of(found, jobs["cache-T1-teacher-0.1-s1"]) == 0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("data"))


def test_an_excerpt_is_drawn_evenly_and_binarised(data: Path, tmp_path: Path) -> None:
    lines = (data / "pieces/train.en").read_text().splitlines()
    whole = sum(len(line.split()) + 1 for line in lines)
    assert train_tokens(data) == whole
    kept = write_excerpt(data, tmp_path, whole // 3)
    chosen = (tmp_path / "pieces/train.en").read_text().splitlines()
    assert chosen == lines[::3] and kept == sum(len(line.split()) + 1 for line in chosen)
    # The binarised excerpt is the same as the output of `lskd binarise`.
    binarise(data / "pieces", tmp_path / "all")
    write_excerpt(data, tmp_path / "whole", 10 * whole)
    for name in ("train.de-en.de.bin", "train.de-en.en.idx", "valid.de-en.en.bin", "dict.de.txt"):
        assert (tmp_path / "whole/bin" / name).read_bytes() == (tmp_path / "all" / name).read_bytes()
    with pytest.raises(UserError, match="no prepared data there"):
        train_tokens(tmp_path / "nothing")


def test_rates_are_only_reused_for_the_same_jobs(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found, measured = plan("methods", "medium"), []
    (tmp_path / "data").mkdir()
    (tmp_path / found.data).symlink_to(data)
    recipe = tmp_path / "recipe.sh"
    recipe.write_text("one")

    def rates(self: hours.Measurement) -> dict[str, Rate]:
        measured.append(self)
        return {job.kind: Rate(1.0, 3600, "update") for job in hours.jobs_of(self.plan).values()}

    monkeypatch.setattr(hours.Measurement, "rates", rates)
    first = hours.estimate(found, recipe, 2, 1)
    assert hours.estimate(found, recipe, 2, 1) == first and len(measured) == 1
    assert measured[0].plan.settings.train[-len(hours._TRAIN) :] == list(hours._TRAIN) and not found.settings.train
    recipe.write_text("another")
    hours.estimate(found, recipe, 2, 1)
    hours.estimate(found, recipe, 1, 1)
    assert len(measured) == 3
    path = Path(found.results, "hours.json")
    path.write_text(json.dumps({"rates": 1}))
    with pytest.raises(UserError, match=r"hours\.json"):
        hours.estimate(found, recipe, 1, 1)


def test_a_busy_machine_is_measured_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    called = []

    def run(self: hours.Measurement, command: str, job: Job) -> tuple[str, float]:
        called.append(command)
        folder = self.folder / self.plan.runs / job.name
        folder.mkdir(parents=True)
        (folder / "log.txt").write_text("".join(INNER % (50, 100, i) for i in range(len(called) if logs else 0)))
        (folder / "run.json").write_text(json.dumps({"command": ["--max-update", "900", *hours._TRAIN]}))
        return "", 0.5

    monkeypatch.setattr(hours.Measurement, "_run", run)
    found = plan("methods", "medium")
    job = hours.jobs_of(found)["student-s1"]
    logs = True
    assert hours.Measurement(found, 2, 1)._training(job) == Rate(2.0, 900, "update", share=0.5)
    stops = [float(command.split()[-1]) * 3600 for command in called]
    assert stops == pytest.approx(list(hours.SECONDS), abs=0.1)
    logs = False
    with pytest.raises(UserError, match=r"student-s1 could not be measured in 240 s"):
        hours.Measurement(found, 2, 1)._training(job)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".venv" / ".lskd-stamp").exists(), reason="scripts/setup.sh has not made .venv")
def test_the_hours_are_printed_without_training(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "title: Mine\nseeds: [1]\nteachers:\n  - label_smoothing: 0.1\n"
        "students:\n  - method: word\n    cached: true\n  - method: both\n    cached: true\n"
    )
    command = [ROOT / "scripts/experiment.sh", mine, "--scale", "smoke", "--hours", "--directory", tmp_path]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    for kind in ("teacher", "student word cached", "student both cached of teacher", "cache by", "translations by"):
        assert f"\n{kind}" in done.stdout
    assert "240 updates" in done.stdout and "200 updates" in done.stdout and "Estimate: about" in done.stdout
    runs = tmp_path / "runs/smoke"
    assert [path.name for path in runs.iterdir()] == ["results"] and not (tmp_path / ".hours").exists()
    (kept,) = runs.glob("results/*/hours.json")
    rates = json.loads(kept.read_text())["rates"]
    assert rates["student both cached of teacher"]["before"] > 0 and rates["teacher"]["units"] == 240
    assert all(rate["seconds"] > 0 for rate in rates.values())
