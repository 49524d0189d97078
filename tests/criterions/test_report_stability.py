"""`label_smoothed_teacher --report-stability`: equation (2) over the whole validation set, in any batches."""

import pytest
import torch
from analysis_reference import intra_class_variance
from fairseq.logging import metrics
from tiny import batch, logits, make_criterion, make_model, summed

from fairseq_lskd.criterions import LabelSmoothedTeacherCriterion, label_smoothed_teacher

STEPS = [[range(0, 20), range(20, 33)], [range(33, 40), range(40, 60)]]


def reduced(*steps):
    """Return what fairseq logs for these steps; each is a list of the workers' logging outputs."""
    with metrics.aggregate(new_root=True) as found:
        for logs in steps:
            LabelSmoothedTeacherCriterion.reduce_metrics(logs)
    return found.get_smoothed_values()


@pytest.fixture
def measured(task):
    """The model, its logging outputs by step and worker, and all its distributions with their targets."""
    model = make_model(task).eval()

    def logs(**settings):
        criterion = make_criterion(task, "label_smoothed_teacher", report_stability=True, **settings).eval()
        return [[criterion(model, batch(task, ids))[2] for ids in step] for step in STEPS]

    rows, labels = [], []
    for ids in (ids for step in STEPS for ids in step):
        sample = batch(task, ids)
        keep = sample["target"].ne(task.target_dictionary.pad())
        rows.append(logits(model, sample)[keep].double().softmax(-1))
        labels.append(sample["target"][keep])
    return logs, torch.cat(rows), torch.cat(labels)


@pytest.mark.parametrize("form", ["fused", "plain"])
def test_is_equation_2_over_all_steps_and_workers(measured, form):
    logs, probs, labels = measured
    wanted = intra_class_variance(probs, labels, label_smoothed_teacher.MIN_COUNT)
    steps = logs(loss_form=form)
    for found in (
        reduced(*steps),
        reduced(*([summed(step)] for step in steps)),
        reduced([x for s in steps for x in s]),
    ):
        assert found["intra_class_variance"] == pytest.approx(wanted, abs=2e-5)
        assert not [name for name in found if name.startswith(("_", "classes"))]


def test_a_large_vocabulary_is_estimated(measured, monkeypatch):
    """With 7 columns for 15 types, 4 of them a sketch, the mean over seeds of the sketch is the exact value."""
    logs, probs, labels = measured
    wanted = intra_class_variance(probs, labels, label_smoothed_teacher.MIN_COUNT)
    monkeypatch.setattr(label_smoothed_teacher, "SIZE", 0)
    found = []
    for seed in range(30):
        empty = label_smoothed_teacher.ClassSums(torch.arange(15), 15, 4, seed)
        monkeypatch.setattr(label_smoothed_teacher, "_empty_sums", lambda classes, empty=empty: empty)
        found.append(reduced(*logs())["intra_class_variance"])
    assert len(set(found)) > 10
    assert sum(found) / 30 == pytest.approx(wanted, abs=4 * torch.tensor(found).std().item() / 30**0.5)


def test_logging_outputs_can_be_summed_over_workers_by_fairseq(measured):
    """fairseq's all-reduce flattens tensors of any shape and restores them."""
    logs, _, _ = measured
    (one, two), _ = logs()
    assert one["classes"].dtype == torch.float64 and one["classes"].shape == two["classes"].shape
    assert one["classes"].is_contiguous() and LabelSmoothedTeacherCriterion.logging_outputs_can_be_summed()


def test_it_is_off_by_default_and_while_training(task):
    model, sample = make_model(task), batch(task, range(3))
    assert "classes" not in make_criterion(task, "label_smoothed_teacher").eval()(model, sample)[2]
    criterion = make_criterion(task, "label_smoothed_teacher", report_stability=True)
    assert "classes" not in criterion.train()(model, sample)[2]
    assert "intra_class_variance" not in reduced([criterion.train()(model, sample)[2]])
