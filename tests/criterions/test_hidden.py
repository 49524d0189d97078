"""`--kd-hidden`: the distance of hidden states, and where its matrix is saved."""

import pytest
import torch
from tiny import assert_same, backward, batch, make_criterion, make_model, make_trainer, write

from fairseq_lskd.models import why_not_projected

pytestmark = pytest.mark.usefixtures("teachers_loaded_once")

BATCHES = (range(6), range(20, 31), range(7), range(40, 45))


def make_kd(task, teacher_path, **settings):
    settings = {"kd_hidden": "mse", "kd_hidden_weight": 0.3} | settings
    return make_criterion(task, "word_kd", teacher_path=str(teacher_path), **settings).train()


@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize("kind", ["mse", "cosine"])
def test_the_loss_is_the_definition(task, teacher_path, form, kind):
    """With a prefix, token by token; the gradients are those of the loss without the term plus those of the term."""
    settings = {"kd_hidden": kind, "loss_form": form, "ignore_prefix_size": 1}
    criterion, student, sample = make_kd(task, teacher_path, **settings), make_model(task).eval(), batch(task, range(6))
    criterion.begin(student, 0)
    assert criterion.hidden_map.shape == (24, 16)
    loss, _, log = criterion(student, sample)
    found = backward(student, loss)
    counts = sample["target"].ne(task.target_dictionary.pad())
    counts[:, :1] = False
    ours = student(**sample["net_input"], features_only=True)[0][counts]
    with torch.no_grad():
        theirs = criterion.teacher.models[0](**sample["net_input"], features_only=True)[0][counts]
    distances = []
    for h, t in zip(ours @ criterion.hidden_map.detach().t(), theirs, strict=True):
        if kind == "mse":
            distances.append(((h - t) ** 2).sum() / 24)
        else:
            distances.append(1 - (h @ t) / (h.norm() * t.norm()))
    term = torch.stack(distances).sum()
    assert log["hidden_loss"].item() == pytest.approx(term.item(), rel=1e-5)
    without = make_kd(task, teacher_path, **settings | {"kd_hidden": "none", "kd_hidden_weight": 1.0})
    plain, _, _ = without(student, sample)
    assert loss.item() == pytest.approx(plain.item() + 0.3 * term.item(), rel=1e-6)
    assert_same(found, backward(student, plain + 0.3 * term), tolerance=1e-5)


def test_validation_leaves_the_term_out(task, teacher_path):
    """Also without a call of `begin`, as under fairseq-validate."""
    criterion = make_kd(task, teacher_path).eval()
    found = criterion(make_model(task).eval(), batch(task, range(4), "valid"))
    assert "hidden_loss" not in found[2] and found[2]["kd_loss"] > 0


def new_trainer(bitext, task, teacher_path):
    flags = ("--dropout", "0")
    return make_trainer(bitext, task, make_model(task, *flags), make_kd(task, teacher_path), *flags)


def test_the_matrix_is_trained_and_resumed_and_not_in_the_student(bitext, task, teacher_path, tmp_path):
    whole = new_trainer(bitext, task, teacher_path)
    start = whole.get_criterion().hidden_map.detach().clone()
    logs = [whole.train_step([batch(task, ids)]) for ids in BATCHES]
    assert (whole.get_criterion().hidden_map - start).abs().max() > 1e-4
    first = new_trainer(bitext, task, teacher_path)
    for ids in BATCHES[:2]:
        first.train_step([batch(task, ids)])
    path = write(tmp_path / "checkpoint_last.pt", first)
    state = torch.load(path, weights_only=False)
    assert list(state["criterion"]) == ["hidden_map"]
    assert not any("hidden_map" in name for name in state["model"])
    resumed = new_trainer(bitext, task, teacher_path)
    resumed.load_checkpoint(str(path))
    found = [resumed.train_step([batch(task, ids)]) for ids in BATCHES[2:]]
    assert [log["loss"] for log in found] == [log["loss"] for log in logs[2:]]
    assert torch.equal(resumed.get_criterion().hidden_map, whole.get_criterion().hidden_map)


@pytest.mark.parametrize("kind", ["mse", "cosine"])
def test_the_states_come_closer(task, teacher_path, kind):
    student = make_model(task, "--dropout", "0", seed=3).train()
    criterion, sample = make_kd(task, teacher_path, kd_hidden=kind), batch(task, range(12))
    criterion.begin(student, 0)
    optimizer = torch.optim.Adam([*student.parameters(), *criterion.parameters()], lr=3e-3)
    found = []
    for _ in range(15):
        optimizer.zero_grad()
        loss, size, log = criterion(student, sample)
        (loss / size).backward()
        optimizer.step()
        found.append(log["hidden_loss"].item())
    assert found[-1] < 0.9 * found[0]


def test_a_student_without_known_hidden_states(task, teacher_path):
    criterion, other = make_kd(task, teacher_path), torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"--kd-hidden mse: Linear is not a Transformer.*hidden states"):
        criterion.begin(other, 0)
    assert why_not_projected(other) is not None


def test_the_matrix_has_a_gradient_in_a_batch_without_taught_tokens(task, teacher_path):
    """The gradient is 0. Workers wait for it."""
    criterion, student = make_kd(task, teacher_path), make_model(task).eval()
    criterion.begin(student, 0)
    sample = batch(task, range(4))
    sample["target"].fill_(task.target_dictionary.pad())
    loss, _, _ = criterion(student, sample)
    loss.backward()
    assert loss.item() == 0 and not criterion.hidden_map.grad.any()
