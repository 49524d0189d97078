"""Tests of the claims about training curves."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from records.written import log_text, write_run

from fairseq_lskd.errors import UserError
from fairseq_lskd.records.logs import read_run
from fairseq_lskd.scoring.curve_claims import answer, section


def falling(end: float) -> Callable[[int], float]:
    return lambda update: round(end + 5 * math.exp(-update / 50), 4)


def teacher(folder: Path, smoothing: float, nll: float, seed: int = 1, *more: str) -> Path:
    command = ["--label-smoothing", str(smoothing), "--seed", str(seed), *more]
    labels = {"role": "teacher", "method": "none", "teacher_smoothing": smoothing, "command": command}
    return write_run(folder, {("train", "loss"): falling(2), ("valid", "nll_loss"): falling(nll)}, **labels)


def student(folder: Path, smoothing: float, kd: float, nll: float) -> Path:
    command = ["--teacher-path", f"teacher-{smoothing}/checkpoint_best.pt", "--seed", "1"]
    labels = {"role": "student", "method": "word", "temperature": 1.0, "teacher_smoothing": smoothing}
    points = {("train", "kd_loss"): falling(kd), ("valid", "nll_loss"): falling(nll)}
    return write_run(folder, points, command=command, **labels)


def test_claims_of_one_seed(tmp_path: Path) -> None:
    runs = [
        teacher(tmp_path / "teacher-0.0", 0.0, 2.0),
        teacher(tmp_path / "teacher-0.1", 0.1, 2.25),
        student(tmp_path / "word-0.0", 0.0, 1.0, 3.0),
        student(tmp_path / "word-0.1", 0.1, 1.5, 3.0),
    ]
    claims = {(c.question.role, c.question.metric): c for c in answer([read_run(path) for path in runs])}
    assert claims.keys() == {("teacher", "nll_loss"), ("student", "kd_loss"), ("student", "nll_loss")}
    worse = claims["teacher", "nll_loss"]
    assert worse.verdict == "held" and worse.difference.value == pytest.approx(0.25)
    assert worse.group == "teachers, smoothing 0.1" and worse.basis == "10 points of the curves, one pair of runs"
    assert claims["student", "kd_loss"].difference.value == pytest.approx(0.5)
    assert claims["student", "nll_loss"].verdict == "undecided"  # the curves are equal
    found = section(runs)
    assert any("worse validation perplexity: held (teachers, smoothing 0.1" in said for said in found.words)
    said, points = found.tables
    assert len(said.rows) == 3 and len(points.rows) == 2 * 30 * 4
    assert points.rows[0] == ("teacher-0.0", "train", "loss", 10, falling(2)(10))
    drawn = [axes.get_title(loc="left") for axes in found.pictures[0].figure.axes if axes.lines]
    assert drawn == ["Teachers, validation", "Students, training", "Students, validation"]


def test_a_claim_that_does_not_hold(tmp_path: Path) -> None:
    runs = [teacher(tmp_path / "b", 0.0, 2.0), teacher(tmp_path / "a", 0.1, 1.9)]
    (claim,) = answer([read_run(path) for path in runs])
    assert claim.verdict == "not held" and claim.difference.value == pytest.approx(-0.1)


def test_with_several_seeds_the_interval_is_over_seeds(tmp_path: Path) -> None:
    runs = []
    for seed, gap in ((1, 0.1), (2, 0.2), (3, 0.3)):
        runs += [
            teacher(tmp_path / f"{seed}/plain", 0.0, 2.0, seed),
            teacher(tmp_path / f"{seed}/ls", 0.1, 2 + gap, seed),
        ]
    (claim,) = answer([read_run(path) for path in runs])
    assert claim.basis == "3 pairs of runs" and claim.verdict == "undecided"  # 0.2 -+ 4.303 * 0.1 / sqrt(3)
    assert claim.difference.low == pytest.approx(0.2 - 4.303 * 0.1 / math.sqrt(3), abs=1e-4)
    # Runs with the same name are told apart by their folders.
    assert {row[0] for row in section(runs).tables[1].rows} == {str(path) for path in runs}


def test_runs_that_differ_in_more_than_smoothing_are_not_compared(tmp_path: Path) -> None:
    runs = [teacher(tmp_path / "a", 0.0, 2.0), teacher(tmp_path / "b", 0.1, 2.2, 1, "--dropout", "0.3")]
    found = section(runs)
    assert not found.tables[0].rows and "No claim is tested" in found.words[0]


def test_settings_without_a_label_form_separate_groups(tmp_path: Path) -> None:
    runs = []
    for dropout, gap in (("0.1", 0.2), ("0.3", 0.4)):
        for smoothing, nll in ((0.0, 2.0), (0.1, 2 + gap)):
            runs.append(teacher(tmp_path / dropout / f"t{smoothing}", smoothing, nll, 1, "--dropout", dropout))
    claims = answer([read_run(path) for path in runs])
    assert [claim.difference.value for claim in claims] == pytest.approx([0.2, 0.4])
    assert [claim.group for claim in claims] == [
        f"teachers, smoothing 0.1, {tmp_path / dropout / 't0.1'}" for dropout in ("0.1", "0.3")
    ]


def test_a_student_s_own_smoothing_is_not_its_teacher_s(tmp_path: Path) -> None:
    labels = {"role": "student", "method": "word", "temperature": 1.0}
    points = {("train", "kd_loss"): falling(1)}
    runs = [
        write_run(tmp_path / f"s{s}", points, command=["--label-smoothing", str(s)], teacher_smoothing=s, **labels)
        for s in (0.0, 0.1)
    ]
    assert not answer([read_run(path) for path in runs])


TORCHRUN = ("torchrun", "--standalone", "--nproc_per_node", "8", "-m", "fairseq_cli.train")
SRUN = ("srun", "--ntasks", "2", "torchrun", "--nnodes", "2", "--nproc_per_node", "4", "-m", "fairseq_cli.train")


@pytest.mark.parametrize("method", ["sequence", "both"])
@pytest.mark.parametrize("program", [("fairseq-train",), TORCHRUN, SRUN], ids=["alone", "torchrun", "srun"])
def test_students_of_translations_may_differ_in_the_data(program: tuple[str, ...], method: str, tmp_path: Path) -> None:
    labels = {"role": "student", "method": method}
    points = {("valid", "nll_loss"): falling(1)}
    runs = [
        write_run(tmp_path / f"seq-{s}", points, program=(*program, f"seq-{s}-data/bin"), teacher_smoothing=s, **labels)
        for s in (0.0, 0.1)
    ]
    (claim,) = answer([read_run(path) for path in runs])
    assert claim.group == f"students, {method} level, smoothing 0.1"


def test_students_trained_on_different_numbers_of_gpus_are_not_compared(tmp_path: Path) -> None:
    labels = {"role": "student", "method": "sequence"}
    points = {("valid", "nll_loss"): falling(1)}
    runs = [
        write_run(tmp_path / f"s{s}", points, program=(*program, "bin"), teacher_smoothing=s, **labels)
        for s, program in ((0.0, TORCHRUN), (0.1, SRUN))
    ]
    assert not answer([read_run(path) for path in runs])


def test_a_diverged_training_is_undecided(tmp_path: Path) -> None:
    runs = [teacher(tmp_path / "a", 0.0, 2.0), teacher(tmp_path / "b", 0.1, math.nan)]
    (claim,) = answer([read_run(path) for path in runs])
    assert claim.verdict == "undecided"
    assert math.isnan(section(runs).tables[0].rows[0][2])


def test_logs_without_a_record_are_plotted(tmp_path: Path) -> None:
    (tmp_path / "mine.log").write_text(log_text(range(1, 9), float))
    found = section([tmp_path / "mine.log"])
    assert [axes.get_title(loc="left") for axes in found.pictures[0].figure.axes] == ["Validation"]


def test_all_invalid_logs_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("no log")
    with pytest.raises(UserError) as caught:
        section([tmp_path / "a", tmp_path / "b"])
    for fact in ("a: found no training statistics", "b: found no log"):
        assert fact in str(caught.value)
    with pytest.raises(UserError, match="expected training runs"):
        section([])
