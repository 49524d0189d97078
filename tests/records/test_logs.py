"""Tests of reading curves from logs that fairseq's own progress bars write."""

from __future__ import annotations

import json
import logging
import math
import re
from pathlib import Path

import hostile
import pytest
from hypothesis import given

from fairseq_lskd.errors import UserError
from fairseq_lskd.records.logs import Curve, epoch_means, find_runs, logs_of, read_curves, read_run

from .written import HYDRA, PLAIN, log_text


@pytest.mark.parametrize("formatter", [PLAIN, HYDRA], ids=["plain", "hydra"])
@pytest.mark.parametrize("form", ["json", "simple"])
def test_what_fairseq_writes(form: str, formatter: logging.Formatter, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(log_text(range(1, 9), lambda update: 10 - update / 4, form, formatter))
    curves = read_curves([path])
    assert curves["train", "loss"].updates == list(range(1, 9))
    assert curves["train", "loss"].values == [10 - update / 4 for update in range(1, 9)]
    assert curves["valid", "nll_loss"].updates == [4, 8] and curves["valid", "nll_loss"].values == [9.5, 8.5]
    assert curves["train_epoch", "loss"].values == [8, 7]
    assert ("train", "lr") not in curves  # its value is None


def test_a_resumed_training_replaces_lost_updates(tmp_path: Path) -> None:
    # Killed at update 11, resumed from 8; killed again at 10; then finished. log.txt.10 comes after log.txt.2.
    (tmp_path / "log.txt.2").write_text(log_text(range(1, 12), lambda _: 1.0))
    (tmp_path / "log.txt.10").write_text(log_text(range(9, 11), lambda _: 2.0))
    (tmp_path / "log.txt").write_text(log_text(range(9, 13), lambda _: 3.0))
    assert [path.name for path in logs_of(tmp_path)] == ["log.txt.2", "log.txt.10", "log.txt"]
    assert logs_of(tmp_path / "log.txt") == logs_of(tmp_path)
    run = read_run(tmp_path)
    curve = run.curves["train", "loss"]
    assert curve.updates == list(range(1, 13))
    assert curve.values == [1.0] * 8 + [3.0] * 4
    assert run.name == tmp_path.name and run.labels["role"] is None


def test_means_per_epoch_are_the_fallback(tmp_path: Path) -> None:
    lines = [line for line in log_text(range(1, 9), float).splitlines() if "train_inner" not in line]
    (tmp_path / "mine.log").write_text("\n".join(lines))
    run = read_run(tmp_path / "mine.log")
    curve = run.curve("train", "loss")
    assert run.name == "mine" and curve is not None and curve.updates == [4, 8]
    assert run.curve("train", "kd_loss") is None


def test_epoch_means_use_only_points_of_the_epoch() -> None:
    # Epochs of 5 updates, points every 2; the second epoch was resumed from the checkpoint at the end of the first.
    curves = {
        ("train", "loss"): Curve([2, 4, 6, 8, 10, 12], [8.0, 6.0, 5.0, 4.0, 3.0, 2.0]),
        ("train", "wpb"): Curve([2, 4, 6, 8, 10, 12], [100.0, 300.0, 100.0, 100.0, 200.0, 100.0]),
        ("train_epoch", "loss"): Curve([5, 10], [6.6, 5.2]),
        ("train_epoch", "kd_loss"): Curve([5, 10], [0.7, 0.6]),
    }
    assert epoch_means(curves, "loss") == Curve([5, 10, 12], [6.5, 3.75, 2.0])
    assert epoch_means(curves, "kd_loss") is curves["train_epoch", "kd_loss"]
    assert epoch_means(curves, "nll_loss") is None
    del curves["train", "wpb"]
    assert epoch_means(curves, "loss") == Curve([5, 10, 12], [7.0, 4.0, 2.0])


def test_an_epoch_without_a_point_has_no_mean() -> None:
    curves = {
        ("train", "loss"): Curve([2, 8], [2.0, 1.0]),
        ("train_epoch", "loss"): Curve([3, 6, 9], [2.5, 2.0, 1.0]),
    }
    assert epoch_means(curves, "loss") == Curve([3, 9], [2.0, 1.0])


def test_nan_losses_are_kept(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(log_text([1, 2], lambda update: math.nan if update == 2 else 1.0))
    values = read_run(tmp_path).curves["train", "loss"].values
    assert values[0] == 1 and math.isnan(values[1])


def test_a_truncated_last_line_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(log_text([1, 2, 3], float)[:-30])
    assert read_run(tmp_path).curves["train", "loss"].updates == [1, 2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "which is empty"),
        ("step 1 loss 3.4\n", "which begins with 'step 1 loss 3.4'"),
        # fairseq-validate's statistics have no num_updates.
        ('2024 | INFO | valid | {"valid_loss": "1.54"}\n', "which begins with '2024 | INFO | valid"),
    ],
)
def test_other_logs_are_refused(text: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=re.escape(found)) as caught:
        read_run(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "fairseq-train" in message and "--log-format" in message


def test_missing_logs_and_runs_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no log.* log\.txt"):
        read_run(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        find_runs(tmp_path / "none")
    with pytest.raises(UserError, match="no run of fairseq-train"):
        find_runs(tmp_path)
    for text in ("{}", "[]", '{"command": []}', '{"command": [1]}', '{"command": ["a"], "labels": 1.5}', "[" * 9999):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(UserError, match=r"run\.json: .*expected a record of `lskd run`"):
            find_runs(tmp_path)


STATISTICS = (
    '2020 | INFO | train_inner | {"epoch": 1, "loss": "5.1", "num_updates": "10"}\n'
    '2020 | INFO | valid | {"epoch": 1, "valid_loss": "5", "valid_num_updates": "10"}\n'
)


@pytest.mark.parametrize("number", ["inf", "1e999", "9" * 400, "-1", "nan", "[1]", "[" * 9999, '"a"', "1e300"])
def test_invalid_numbers_of_updates_are_skipped(tmp_path: Path, number: str) -> None:
    (tmp_path / "log.txt").write_text(STATISTICS + STATISTICS.replace('"10"', number))
    assert read_run(tmp_path).curves[("valid", "loss")].updates == [10]


@hostile.few
@given(hostile.mutated(STATISTICS.encode()))
def test_any_content_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.txt"
    path.write_bytes(content)
    hostile.read_or_refuse(lambda: read_run(path), path)


def test_runs_are_found_with_their_labels(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "word-0.1"
    (folder / "test").mkdir(parents=True)
    command = ["/some/where/fairseq-train", "bin", "--seed", "3", "--save-dir=x", "--seed=4"]
    labels = {"role": "student", "method": "word", "teacher_smoothing": 0.1}
    (folder / "run.json").write_text(json.dumps({"command": command, "labels": labels}))
    (folder / "log.txt").write_text(log_text([1], float))
    (folder / "test" / "run.json").write_text(json.dumps({"command": ["fairseq-generate"]}))
    (folder / "test" / "log.txt").write_text("H-1")
    assert find_runs(tmp_path) == [folder]
    run = read_run(folder)
    assert run.labels == {**labels, "temperature": None, "seed": "4"} and run.name == "word-0.1"


@pytest.mark.parametrize(
    ("command", "trained"),
    [
        ("torchrun --standalone --nproc_per_node 8 -m fairseq_cli.train bin", True),
        ("srun --ntasks 2 torchrun --nnodes 2 --nproc_per_node 8 -m fairseq_cli.train bin", True),
        ("python -m fairseq_cli.hydra_train task.data=bin", True),
        ("python -m fairseq_cli.generate bin", False),
        ("fairseq-generate bin --path runs/fairseq-train", False),
    ],
)
def test_runs_are_found_behind_their_launcher(command: str, trained: bool, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"command": command.split()}))
    (tmp_path / "log.txt").write_text(log_text([1], float))
    if trained:
        assert find_runs(tmp_path) == [tmp_path]
    else:
        with pytest.raises(UserError, match="no run of fairseq-train"):
            find_runs(tmp_path)
