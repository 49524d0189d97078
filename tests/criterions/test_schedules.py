"""`--kd-schedule`: the loss has the weight and temperature of the current update, also right after a resume."""

import pytest
import torch
from tiny import assert_same, batch, make_criterion, make_model, make_trainer, write

from fairseq_lskd.teachers.checkpoint import without_copies

pytestmark = pytest.mark.usefixtures("teachers_loaded_once")

SCHEDULED = {"kd_schedule": "linear", "kd_schedule_updates": 4, "kd_weight_end": 0.0, "kd_temperature_end": 3.0}
BATCHES = (range(6), range(20, 31), range(7), range(40, 45), range(12), range(9))


def make_kd(task, teacher_path, **settings):
    return make_criterion(task, "word_kd", teacher_path=str(teacher_path), **settings).train()


@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize(("update", "weight", "temperature"), [(0, 0.5, 1.0), (1, 0.375, 1.5), (2, 0.25, 2.0)])
def test_the_loss_has_the_values_of_the_update(task, teacher_path, form, update, weight, temperature):
    student, sample = make_model(task).eval(), batch(task, range(6))
    criterion = make_kd(task, teacher_path, loss_form=form, **SCHEDULED)
    criterion.update = update
    loss, _, log = criterion(student, sample)
    fixed = make_kd(task, teacher_path, loss_form=form, kd_weight=weight, kd_temperature=temperature)
    assert loss.item() == fixed(student, sample)[0].item()
    assert log["kd_weight"] == weight * sample["ntokens"] and log["kd_temperature"] == temperature * sample["ntokens"]


def test_at_a_weight_of_0_the_loss_has_no_teachers_term(task, teacher_path):
    criterion = make_kd(task, teacher_path, **SCHEDULED)
    criterion.update = 4
    assert "kd_loss" not in criterion(make_model(task).eval(), batch(task, range(6)))[2]


def test_validation_has_the_end_values_at_every_update(task, teacher_path):
    settings = {**SCHEDULED, "kd_weight_end": 0.8}
    criterion = make_kd(task, teacher_path, **settings).eval()
    fixed = make_kd(task, teacher_path, kd_weight=0.8, kd_temperature=3.0).eval()
    student, sample = make_model(task).eval(), batch(task, range(6))
    for criterion.update in (0, 3, 9):
        found = criterion(student, sample)
        assert found[0].item() == fixed(student, sample)[0].item() and "kd_weight" not in found[2]


def new_trainer(bitext, task, teacher_path):
    flags = ("--dropout", "0", "--max-update", "6")
    return make_trainer(bitext, task, make_model(task, *flags), make_kd(task, teacher_path, **SCHEDULED), *flags)


def test_a_resumed_training_has_the_values_of_one_that_was_not_stopped(bitext, task, teacher_path, tmp_path):
    whole = new_trainer(bitext, task, teacher_path)
    logs = [whole.train_step([batch(task, ids)]) for ids in BATCHES]
    assert [log.get("kd_weight") for log in logs[:4]] == pytest.approx([0.5, 0.375, 0.25, 0.125])
    first = new_trainer(bitext, task, teacher_path)
    for ids in BATCHES[:3]:
        first.train_step([batch(task, ids)])
    path = write(tmp_path / "checkpoint_last.pt", first)
    resumed = new_trainer(bitext, task, teacher_path)
    resumed.load_checkpoint(str(path))
    assert resumed.get_criterion().update == 3
    found = [resumed.train_step([batch(task, ids)]) for ids in BATCHES[3:]]
    assert [log["loss"] for log in found] == [log["loss"] for log in logs[3:]]
    # Without fairseq's unused copies of weights.
    assert_same(*(without_copies(dict(trainer.model.named_parameters())) for trainer in (resumed, whole)))


def test_a_schedule_longer_than_the_training(bitext, task, teacher_path):
    criterion = make_kd(task, teacher_path, **{**SCHEDULED, "kd_schedule_updates": 7})
    with pytest.raises(SystemExit, match=r"--kd-schedule-updates 7 is longer .*--max-update 6"):
        make_trainer(bitext, task, make_model(task), criterion, "--max-update", "6")
    # Without a limit there is no end.
    make_trainer(bitext, task, make_model(task), criterion)
    assert torch.isfinite(torch.tensor(criterion.kd_weight))
