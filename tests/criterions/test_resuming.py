"""A training that is resumed with another teacher, divergence or temperature warns and names both."""

from __future__ import annotations

import logging
import shutil

import pytest
import torch
from tiny import make_criterion, make_model, make_task, make_trainer, write

from fairseq_lskd.criterions._resuming import other_options


def trainer(bitext, teacher, *flags):
    task = make_task(bitext)
    flags = ("--criterion", "word_kd", "--teacher-path", str(teacher), *flags)
    settings = {"teacher_path": str(teacher)} | ({"kd_select": "global"} if "global" in flags else {})
    return make_trainer(bitext, task, make_model(task), make_criterion(task, "word_kd", **settings), *flags)


@pytest.fixture
def begun(bitext, teacher_path, tmp_path):
    return write(tmp_path / "checkpoint_last.pt", trainer(bitext, teacher_path, "--kd-temperature", "1.5"))


def said(caplog, trainer, begun, **resets):
    with caplog.at_level(logging.WARNING, "fairseq_lskd.criterions._resuming"):
        trainer.load_checkpoint(str(begun), **resets)
    return "\n".join(record.getMessage() for record in caplog.records if record.name.endswith("_resuming"))


def test_another_loss_is_named_with_the_one_before(bitext, teacher_path, other_teacher_path, begun, caplog):
    flags = ["--kd-temperature", "3", "--kd-divergence", "reverse_kl"]
    message = said(caplog, trainer(bitext, other_teacher_path, *flags), begun)
    for fact in (teacher_path, other_teacher_path, "--kd-temperature 1.5", "--kd-temperature 3.0", begun):
        assert str(fact) in message
    assert "--kd-divergence forward_kl" in message and "--kd-divergence reverse_kl" in message
    assert "checkpoint_best.pt" in message and "--reset-meters" in message


def test_the_same_loss_gives_no_warning(bitext, teacher_path, begun, caplog, tmp_path):
    moved = shutil.copy(teacher_path, tmp_path / "moved.pt")
    flags = ["--kd-temperature", "1.5", "--loss-form", "plain", "--teacher-data", str(bitext)]
    assert said(caplog, trainer(bitext, teacher_path, *flags), begun) == ""
    assert said(caplog, trainer(bitext, moved, *flags), begun) == ""


@pytest.mark.parametrize("reset", ["reset_optimizer", "reset_meters"])
def test_a_reset_training_gives_no_warning(bitext, teacher_path, begun, caplog, reset):
    assert said(caplog, trainer(bitext, teacher_path, "--kd-temperature", "3"), begun, **{reset: True}) == ""


def test_a_best_checkpoint_metric_other_than_the_loss(bitext, teacher_path, begun, caplog):
    flags = ["--kd-temperature", "3", "--best-checkpoint-metric", "bleu"]
    message = said(caplog, trainer(bitext, teacher_path, *flags), begun)
    assert "--kd-temperature 3.0" in message and "checkpoint_best.pt" not in message


def test_caches_are_compared_by_their_manifests(tmp_path):
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cache.json").write_text(text)
    options = {name: {"teacher_cache": str(tmp_path / name)} for name in "abc"} | {"gone": {"teacher_cache": "gone"}}
    assert other_options(options["a"], options["b"]) == []
    assert [flag for flag, _, _ in other_options(options["a"], options["c"])] == ["--teacher-cache"]
    assert other_options(options["gone"], options["a"]) and other_options({"teacher_cache": None}, options["a"])
    # A checkpoint of an older version may lack an option.
    assert other_options({}, options["a"]) == []


def test_an_option_that_adds_parameters_is_refused_with_a_way_out(bitext, teacher_path, begun, tmp_path):
    """fairseq's own error, about the size of a parameter group, names no option."""
    same = ["--kd-temperature", "1.5"]
    selective = [*same, "--kd-select", "global"]
    with pytest.raises(SystemExit, match=r"--kd-select global \(before: all\).*--reset-optimizer") as refused:
        trainer(bitext, teacher_path, *selective).load_checkpoint(str(begun))
    assert str(begun) in str(refused.value)
    trainer(bitext, teacher_path, *selective).load_checkpoint(str(begun), reset_optimizer=True)
    # Without the option again.
    later = write(tmp_path / "later.pt", trainer(bitext, teacher_path, *selective))
    with pytest.raises(SystemExit, match=r"--kd-select all \(before: global\)"):
        trainer(bitext, teacher_path, *same).load_checkpoint(str(later))
    trainer(bitext, teacher_path, *same).load_checkpoint(str(later), reset_optimizer=True)
    trainer(bitext, teacher_path, *selective).load_checkpoint(str(later))


def test_a_threshold_needs_validation(bitext, teacher_path):
    task = make_task(bitext)
    criterion = make_criterion(task, "word_kd", teacher_path=str(teacher_path))
    criterion.ahead, criterion.cfg.kd_threshold = torch.nn.Module(), 1.0
    flags = ["--criterion", "word_kd", "--teacher-path", str(teacher_path)]
    with pytest.raises(SystemExit, match=r"--kd-threshold 1\.0 .*--disable-validation"):
        make_trainer(bitext, task, make_model(task), criterion, *flags, "--disable-validation")
