"""`word_kd --kd-on-policy`: the teacher scores translations sampled from the student."""

import re

import pytest
import torch
from fairseq.logging import metrics
from tiny import assert_same, backward, batch, make_criterion, make_model, make_trainer

from fairseq_lskd.models import sample_targets


def make_kd(task, path, **settings):
    return make_criterion(task, "word_kd", teacher_path=str(path), **settings).train()


def test_targets_are_sampled_from_the_model(task):
    """Over many samples, the frequencies of first tokens are the student's probabilities."""
    model = make_model(task, scale=1.0).train()
    sample = batch(task, [0])
    many = {
        **sample,
        "net_input": {key: value.repeat_interleave(2000, 0) for key, value in sample["net_input"].items()},
    }
    torch.manual_seed(3)
    own = sample_targets(model, many, task.target_dictionary)
    assert model.training
    model.eval()
    first = model(**sample["net_input"])[0][0, 0].double()
    # fairseq generates no padding, and no empty translation.
    first[[task.target_dictionary.pad(), task.target_dictionary.eos()]] = -torch.inf
    expected = first.softmax(-1)
    found = torch.bincount(own["target"][:, 0], minlength=len(expected)).double() / 2000
    torch.testing.assert_close(found, expected, rtol=0, atol=0.04)


def test_the_batch_is_shaped_as_fairseqs(task):
    model, sample = make_model(task), batch(task, range(6))
    dictionary = task.target_dictionary
    own = sample_targets(model, sample, dictionary)
    target, previous = own["target"], own["net_input"]["prev_output_tokens"]
    assert previous[:, 0].eq(dictionary.eos()).all()
    lengths = target.ne(dictionary.pad()).sum(1)
    assert own["ntokens"] == lengths.sum()
    assert lengths.max() <= 2 * sample["net_input"]["src_tokens"].size(1) + 11
    for row, shifted, length in zip(target, previous, lengths, strict=True):
        assert row[length - 1] == dictionary.eos() and torch.equal(row[: length - 1], shifted[1:length])
        assert row[length:].eq(dictionary.pad()).all() and shifted[length:].eq(dictionary.pad()).all()
    assert sample["target"] is not target and own["net_input"]["src_tokens"] is sample["net_input"]["src_tokens"]


@pytest.mark.parametrize("prefix", [1, 2])
def test_a_prefix_is_taken_from_the_data(task, prefix):
    """For example a language tag, which the student does not learn to generate."""
    model, sample = make_model(task), batch(task, range(6))
    own = sample_targets(model, sample, task.target_dictionary, prefix=prefix)
    assert torch.equal(own["target"][:, :prefix], sample["target"][:, :prefix])


def test_the_criterion_keeps_the_prefix_that_it_ignores(task, teacher_path, monkeypatch):
    asked = []

    def watched(*args, **kwargs):
        asked.append(sample_targets(*args, **kwargs))
        return asked[-1]

    monkeypatch.setattr("fairseq_lskd.criterions.word_kd.sample_targets", watched)
    sample = batch(task, range(6))
    make_kd(task, teacher_path, kd_on_policy=1.0, ignore_prefix_size=1)(make_model(task).train(), sample)
    assert torch.equal(asked[0]["target"][:, 0], sample["target"][:, 0])


@pytest.mark.parametrize("form", ["fused", "plain"])
def test_the_loss_is_only_the_teachers_term_on_the_sampled_batch(task, teacher_path, form):
    model, sample = make_model(task).train(), batch(task, range(6))
    flags = {"kd_weight": 0.3, "label_smoothing": 0.2, "loss_form": form}
    on_policy = make_kd(task, teacher_path, kd_on_policy=1.0, **flags)
    # The whole loss is 0.3 times the teacher's term.
    teacher_alone = make_kd(task, teacher_path, **{**flags, "kd_weight": 1.0})
    torch.manual_seed(5)
    loss, size, log = on_policy(model, sample)
    ours = backward(model, loss)

    torch.manual_seed(5)
    torch.rand(())
    own = sample_targets(model, sample, task.target_dictionary)
    wanted, wanted_size, _ = teacher_alone(model, own)
    assert loss.item() == pytest.approx(0.3 * wanted.item(), rel=1e-5) and size == wanted_size == own["ntokens"]
    assert_same({k: 0.3 * g for k, g in backward(model, wanted).items()}, ours, tolerance=1e-5)
    assert log["on_policy_tokens"] == own["ntokens"] and log["nll_tokens"] == 0 and log["nll_loss"] == 0


def test_the_probability_is_the_share_of_batches(task, teacher_path):
    model, sample = make_model(task).train(), batch(task, range(2))
    criterion = make_kd(task, teacher_path, kd_on_policy=0.25)
    torch.manual_seed(0)
    with torch.no_grad():
        own = sum(criterion(model, sample)[2]["on_policy_tokens"] > 0 for _ in range(200))
    assert 30 <= own <= 70


def test_the_share_of_sampled_tokens_is_logged(task, teacher_path):
    model, sample = make_model(task).train(), batch(task, range(2))
    criterion = make_kd(task, teacher_path, kd_on_policy=0.5)
    torch.manual_seed(0)
    with torch.no_grad():
        logs = [criterion(model, sample)[2] for _ in range(8)]
    own = sum(log["ntokens"] for log in logs if log["on_policy_tokens"])
    with metrics.aggregate(new_root=True) as found:
        # One log per update: the average is over tokens, not over updates.
        for log in logs:
            criterion.reduce_metrics([log])
        criterion.reduce_metrics(logs)
    assert 0 < own < sum(log["ntokens"] for log in logs)
    share = own / sum(log["ntokens"] for log in logs)
    assert found.get_smoothed_value("on_policy") == pytest.approx(share, abs=6e-4)


def test_no_likelihood_is_logged_for_sampled_tokens_alone(task, teacher_path):
    """The negative log-likelihood would be 0, and the perplexity 1."""
    criterion = make_kd(task, teacher_path, kd_on_policy=1.0)
    with metrics.aggregate(new_root=True) as found:
        criterion.reduce_metrics([criterion(make_model(task).train(), batch(task, range(2)))[2]])
    assert not {"nll_loss", "ppl"} & found.get_smoothed_values().keys()


def test_without_kd_on_policy_no_share_is_logged(task, teacher_path):
    model, sample = make_model(task).train(), batch(task, range(2))
    criterion = make_kd(task, teacher_path)
    with metrics.aggregate(new_root=True) as found:
        criterion.reduce_metrics([criterion(model, sample)[2]])
    assert "on_policy" not in found.get_smoothed_values() and "kd_loss" in found.get_smoothed_values()


def test_validation_is_on_the_data(task, teacher_path):
    model, sample = make_model(task).eval(), batch(task, range(4))
    criterion = make_kd(task, teacher_path, kd_on_policy=1.0).eval()
    assert "on_policy_tokens" not in criterion(model, sample)[2]
    plain = make_kd(task, teacher_path).eval()
    assert torch.equal(criterion(model, sample)[0], plain(model, sample)[0])


def test_updates_are_reproducible(bitext, task, teacher_path):
    weights = []
    for _ in range(2):
        model = make_model(task)
        trainer = make_trainer(bitext, task, model, make_kd(task, teacher_path, kd_on_policy=0.5))
        for ids in (range(4), range(4, 8), range(8, 12)):
            trainer.train_step([batch(task, ids)])
        weights.append({name: value.clone() for name, value in model.state_dict().items() if "_float" not in name})
    assert_same(*weights)


@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_the_probability_is_in_0_to_1(task, teacher_path, value):
    with pytest.raises(SystemExit, match=re.escape(f"--kd-on-policy {value}: expected a number in [0, 1]")):
        make_kd(task, teacher_path, kd_on_policy=value)


def test_a_cache_does_not_have_the_students_translations(task):
    with pytest.raises(SystemExit, match=r"--kd-on-policy 0\.5 .*--teacher-cache.*--teacher-path alone"):
        make_criterion(task, "word_kd", teacher_cache="somewhere", kd_on_policy=0.5)
