"""`word_kd` on real models: the formula, the teacher beside the student, and fairseq's training steps."""

import copy
import itertools
import math

import pytest
import torch
from reference import distillation
from tiny import (
    assert_gradients,
    assert_same,
    backward,
    batch,
    gradients,
    logits,
    make_criterion,
    make_model,
    make_trainer,
    save,
    set_aside,
)

from fairseq_lskd.models import log_probs
from fairseq_lskd.teachers import OnlineTeacher


def make_kd(task, path, **settings):
    return make_criterion(task, "word_kd", teacher_path=str(path), **settings)


def teacher_logits(task, criterion, sample):
    """Return the logits of the criterion's teachers."""
    with torch.no_grad():
        return [logits(model, sample) for model in criterion.teacher.models]


@pytest.fixture
def student(task):
    return make_model(task).eval()


GRID = [*itertools.product([0.0, 0.5, 1.0], [0.5, 1.0, 4.0], [0.0, 0.2]), (0.3, 2.0, 0.1)]


@pytest.mark.parametrize(("kd_weight", "temperature", "alpha"), GRID)
@pytest.mark.parametrize("members", [1, 2])
def test_loss_and_every_gradient_are_the_formula(
    task, student, teacher_path, other_teacher_path, kd_weight, temperature, alpha, members
):
    paths = [str(teacher_path), str(other_teacher_path)][:members]
    settings = {"kd_weight": kd_weight, "kd_temperature": temperature, "label_smoothing": alpha}
    criterion = make_kd(task, ":".join(paths), **settings)
    sample = batch(task, range(6))
    counts = sample["target"].ne(task.target_dictionary.pad())
    assert not counts.all()
    teachers = teacher_logits(task, criterion, sample)
    assert len(teachers) == members
    loss, size, log = criterion(student, sample)
    scores = logits(student, sample)
    formula = {"kd_weight": kd_weight, "temperature": temperature, "alpha": alpha, "teachers": teachers}
    wanted = distillation(scores, sample["target"], counts, **formula)
    assert loss.item() == log["loss"].item() == pytest.approx(wanted.loss, rel=1e-5)
    assert log["nll_loss"].item() == pytest.approx(wanted.nll, rel=1e-5)
    assert log.get("kd_loss", torch.tensor(wanted.kd)).item() == pytest.approx(wanted.kd, rel=1e-5)
    assert ("kd_loss" in log) == (kd_weight > 0)
    assert size == sample["ntokens"] == counts.sum()
    assert_gradients(backward(student, loss), student, scores, wanted.gradient)


def test_prefix_is_left_out_of_the_teachers_term_too(task, student, teacher_path):
    criterion = make_kd(task, teacher_path, ignore_prefix_size=2, label_smoothing=0.1)
    sample = batch(task, range(6))
    counts = sample["target"].ne(task.target_dictionary.pad())
    counts[:, :2] = False
    wanted = distillation(
        logits(student, sample),
        sample["target"],
        counts,
        alpha=0.1,
        kd_weight=0.5,
        teachers=teacher_logits(task, criterion, sample),
    )
    loss, size, log = criterion(student, sample)
    assert loss.item() == pytest.approx(wanted.loss, rel=1e-5)
    assert log["kd_loss"].item() == pytest.approx(wanted.kd, rel=1e-5)
    assert size == sample["ntokens"]
    unreduced, _, _ = criterion(student, sample, reduce=False)
    assert unreduced.shape == counts[:, 2:].flatten().shape
    assert unreduced.sum().item() == pytest.approx(loss.item(), rel=1e-5)


def test_the_loss_of_a_student_that_is_the_teacher_is_zero(task, other_teacher_path):
    criterion = make_kd(task, other_teacher_path, kd_weight=1.0, kd_temperature=2.0)
    twin = copy.deepcopy(criterion.teacher.models[0]).requires_grad_(True)
    loss, _, log = criterion(twin, batch(task, range(6)))
    assert abs(log["kd_loss"].item()) < 1e-5 and abs(loss.item()) < 1e-5
    assert all(gradient.abs().max() < 1e-5 for gradient in backward(twin, loss).values())


CHANGES = {
    "label_smoothing": 0.4,
    "smoothing_prior": "unigram",
    "ignore_prefix_size": 1,
    "kd_weight": 0.7,
    "kd_temperature": 3.0,
    "kd_divergence": "reverse_kl",
    "kd_beta": {"kd_divergence": "jensen_shannon", "kd_beta": 0.2},
    "kd_skew": {"kd_divergence": "skewed_reverse_kl", "kd_skew": 0.3},
    "kd_head": {"kd_divergence": "adaptive_kl", "kd_head": 0.9},
    "kd_alpha": {"kd_divergence": "alpha_divergence", "kd_alpha": 0.2},
    "kd_top_k": 3,
    "kd_rest": {"kd_top_k": 3, "kd_rest": "renormalise"},
    "kd_ranking": 3,
    "kd_iterations": 2,
    "kd_select": "batch",
    "kd_select_by": {"kd_select": "batch", "kd_select_by": "frequency"},
    "kd_select_side": {"kd_select": "batch", "kd_select_side": "low"},
    "kd_select_share": {"kd_select": "batch", "kd_select_share": 0.2},
}


def changed_flags(flag, changes):
    """Return the settings that change a flag, together with those it needs, and the latter alone."""
    change = changes[flag]
    if not isinstance(change, dict):
        return {flag: change}, {}
    return change, {name: value for name, value in change.items() if name != flag}


@pytest.mark.parametrize("flag", CHANGES)
def test_every_flag_does_something(task, student, teacher_path, flag):
    sample, (change, needed) = batch(task, range(6)), changed_flags(flag, CHANGES)
    others = {"label_smoothing": 0.2, **needed}
    loss = make_kd(task, teacher_path, **others)(student, sample)[0].item()
    changed = make_kd(task, teacher_path, **{**others, **change})(student, sample)[0].item()
    assert abs(changed / loss - 1) > 1e-3


# The teacher beside the student.


def test_teacher_is_not_a_module_of_the_criterion(task, teacher_path):
    criterion = make_kd(task, teacher_path)
    assert criterion.teacher is not None
    assert list(criterion.parameters()) == list(criterion.buffers()) == []
    assert not criterion.state_dict()
    assert list(criterion.modules()) == [criterion]


def test_teacher_has_no_gradients_and_no_dropout_in_any_mode(task, student, teacher_path):
    criterion = make_kd(task, teacher_path).eval().train()
    sample = batch(task, range(6))
    (model,) = criterion.teacher.models
    assert any(module.p > 0 for module in model.modules() if type(module).__name__ == "FairseqDropout")
    like = next(student.parameters())
    first = criterion.teacher.log_probs(sample["net_input"], like)
    criterion(student, sample)[0].backward()
    assert torch.equal(criterion.teacher.log_probs(sample["net_input"], like), first) and not first.requires_grad
    assert not any(module.training for module in model.modules())
    assert all(weight.grad is None and not weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_teacher_follows_the_dtype_of_the_student(task, student, teacher_path, dtype):
    criterion = make_kd(task, teacher_path, kd_temperature=2.0)
    sample = batch(task, range(6))
    wanted = criterion(student, sample)[2]
    assert {weight.dtype for weight in criterion.teacher.models[0].parameters()} == {torch.float32}
    loss, _, log = criterion(student.to(dtype), sample)
    assert {weight.dtype for weight in criterion.teacher.models[0].parameters()} == {dtype}
    assert loss.dtype == torch.float32
    # Only the models compute in half precision, so the losses differ by a few units in the last place.
    for key in ("loss", "kd_loss", "nll_loss"):
        assert log[key].item() == pytest.approx(wanted[key].item(), rel=8 * torch.finfo(dtype).eps)
    assert all(gradient.isfinite().all() for gradient in backward(student, loss).values())


def test_trainer_neither_optimises_nor_saves_the_teacher(bitext, task, teacher_path):
    flags = ("--criterion", "word_kd", "--teacher-path", str(teacher_path))
    model, criterion = make_model(task), make_kd(task, teacher_path)
    trainer = make_trainer(bitext, task, model, criterion, *flags)
    teacher = criterion.teacher.models[0]
    before = copy.deepcopy(dict(teacher.named_parameters()))
    trainer.train_step([batch(task, range(12))])
    optimised = {id(weight) for group in trainer.optimizer.param_groups for weight in group["params"]}
    assert optimised == {id(weight) for weight in model.parameters()}
    assert_same(dict(teacher.named_parameters()), before)
    trainer.consolidate_optimizer()
    state = trainer.state_dict()
    assert state["model"].keys() == model.state_dict().keys() and not state["criterion"]


# fairseq's training steps.


def step(task, data, path, samples, name="word_kd", **settings):
    """Return the student's weights after one update over these batches."""
    model = make_model(task, "--dropout", "0")
    criterion = make_criterion(task, name, teacher_path=str(path), **settings)
    trainer = make_trainer(data, task, model, criterion, "--dropout", "0", "--clip-norm", "0")
    trainer.train_step(samples)
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("sentence_avg", [False, True])
def test_accumulated_gradients_equal_those_of_one_batch(bitext, task, teacher_path, sentence_avg):
    """--update-freq: the sums over batches are divided once, and not by the number of batches."""
    settings = {"sentence_avg": sentence_avg, "kd_temperature": 2.0, "label_smoothing": 0.1}
    start = dict(make_model(task, "--dropout", "0").named_parameters())
    whole = step(task, bitext, teacher_path, [batch(task, range(12))], **settings)
    split = step(task, bitext, teacher_path, [batch(task, range(3)), batch(task, range(3, 12))], **settings)
    assert_same(split, whole, tolerance=1e-5)
    assert any((whole[name] - start[name]).abs().max() > 1e-2 for name in whole)


def test_gradients_of_two_batches_sum_to_those_of_one_batch(task, student, teacher_path):
    criterion = make_kd(task, teacher_path, label_smoothing=0.1)
    whole = backward(student, criterion(student, batch(task, range(12)))[0])
    for ids in (range(3), range(3, 12)):
        criterion(student, batch(task, ids))[0].backward()
    assert_same(gradients(student), whole, tolerance=1e-5)


def test_a_batch_of_padding_is_zero_and_differentiable(task, student, teacher_path):
    loss, _, log = make_kd(task, teacher_path)(student, set_aside(batch(task, range(4)), task.target_dictionary.pad()))
    assert loss.item() == log["kd_loss"].item() == 0
    assert not any(gradient.any() for gradient in backward(student, loss).values())


@pytest.mark.parametrize("gap", [200.0, 1e4])
@pytest.mark.parametrize("form", ["fused", "plain"])
def test_extreme_logits_stay_finite(task, student, teacher_path, gap, form):
    """The student gives nearly all probability to a type of low probability: KL is about the gap, not infinite."""
    criterion, sample = make_kd(task, teacher_path, kd_weight=1.0, loss_form=form), batch(task, range(4))
    push = torch.zeros(len(task.target_dictionary))
    push[5] = gap
    student.decoder.output_projection.bias = torch.nn.Parameter(push)
    loss, size, _ = criterion(student, sample)
    assert loss.isfinite() and loss.item() > 0.5 * gap * size
    assert all(gradient.isfinite().all() for gradient in backward(student, loss).values())


@pytest.mark.parametrize("form", ["fused", "plain"])
def test_a_type_without_teacher_probability_stays_finite(task, student, teacher_path, form):
    criterion, sample = make_kd(task, teacher_path, kd_temperature=2.0, loss_form=form), batch(task, range(4))
    push = torch.zeros(len(task.target_dictionary))
    push[5] = -math.inf
    (model,) = criterion.teacher.models
    model.decoder.output_projection.bias = torch.nn.Parameter(push, requires_grad=False)
    loss, _, _ = criterion(student, sample)
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in backward(student, loss).values())


def test_every_model_of_an_ensemble_keeps_its_own_size(task, teacher_path, other_teacher_path):
    criterion = make_kd(task, f"{teacher_path}:{other_teacher_path}")
    assert [model.decoder.embed_dim for model in criterion.teacher.models] == [24, 16]


def test_a_teacher_needs_a_model():
    with pytest.raises(ValueError, match="at least one"):
        OnlineTeacher([])


ADAPTIVE = ("--criterion", "cross_entropy", "--adaptive-softmax-cutoff", "8,12")


def test_teacher_with_an_adaptive_softmax(bitext, task, student, tmp_path):
    path = save(tmp_path / "adaptive.pt", bitext, *ADAPTIVE)
    criterion, sample = make_kd(task, path), batch(task, range(4))
    log_probs = criterion.teacher.log_probs(sample["net_input"], next(student.parameters()))
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(log_probs.shape[:-1]))
    loss, _, log = criterion(student, sample)
    assert log["kd_loss"] > 0 and all(gradient.isfinite().all() for gradient in backward(student, loss).values())


def test_student_with_an_adaptive_softmax(task, teacher_path, caplog):
    """The plain form is used, with one log line. The log-probabilities are fairseq's."""
    student, sample = make_model(task, *ADAPTIVE).eval(), batch(task, range(4))
    criterion = make_kd(task, teacher_path)
    loss, _, _ = criterion(student, sample)
    assert criterion(student, sample)[0].item() == loss.item()
    assert caplog.text.count("the model has an adaptive softmax") == 1
    with torch.no_grad():
        wanted = student.get_normalized_probs(student(**sample["net_input"]), log_probs=True)
        torch.testing.assert_close(log_probs(student, sample["net_input"]), wanted)
    assert any(gradient.any() for gradient in backward(student, loss).values())


def test_fairseqs_own_criterion_cannot_train_an_adaptive_softmax(task):
    """fairseq writes log-probabilities in place, which is why `log_probs` does not call it."""
    student = make_model(task, *ADAPTIVE).eval()
    loss, _, _ = make_criterion(task, "label_smoothed_cross_entropy")(student, batch(task, range(4)))
    with pytest.raises(RuntimeError, match="inplace operation"):
        loss.backward()
