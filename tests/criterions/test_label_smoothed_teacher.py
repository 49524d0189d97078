"""`label_smoothed_teacher` on a real model and real batches: equal to fairseq's criterion to the last bit; logs."""

import math

import pytest
import torch
from fairseq.logging import metrics
from reference import distillation, predictions
from tiny import assert_gradients, assert_same, backward, batch, logits, make_criterion, make_model, set_aside, summed

from fairseq_lskd.criterions import LabelSmoothedTeacherCriterion

NAME = "label_smoothed_teacher"
BATCHES = [range(12), [3], [5, 59, 7]]


def reduced(criterion, *batches):
    """Return what fairseq logs for these batches; each is a list of the workers' logging outputs."""
    with metrics.aggregate(new_root=True) as found:
        for logs in batches:
            type(criterion).reduce_metrics(logs)
    return found.get_smoothed_values()


@pytest.mark.parametrize("ids", BATCHES)
@pytest.mark.parametrize("sentence_avg", [False, True])
@pytest.mark.parametrize("prefix", [0, 1, 2])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_same_bits_as_fairseq(task, ids, sentence_avg, prefix, alpha):
    model = make_model(task).train()
    flags = {"label_smoothing": alpha, "sentence_avg": sentence_avg, "ignore_prefix_size": prefix}
    sample = batch(task, ids)
    found = []
    for name, form in ((NAME, {"loss_form": "plain"}), ("label_smoothed_cross_entropy", {})):
        torch.manual_seed(5)  # the same dropout
        loss, size, log = make_criterion(task, name, **flags, **form).train()(model, sample)
        found.append((loss.detach(), log["nll_loss"], size, backward(model, loss)))
    (loss, nll, size, ours), (wanted_loss, wanted_nll, wanted_size, theirs) = found
    assert torch.equal(loss, wanted_loss) and torch.equal(nll, wanted_nll)
    assert size == wanted_size == (len(ids) if sentence_avg else sample["ntokens"])
    assert_same(ours, theirs)


def test_the_batches_above_have_padding(task):
    assert batch(task, BATCHES[0])["target"].eq(task.target_dictionary.pad()).any()


@pytest.mark.parametrize("prefix", [0, 2])
def test_unreduced_loss_is_fairseqs_and_sums_to_the_reduced(task, prefix):
    model, sample = make_model(task).eval(), batch(task, range(12))
    ours, theirs = (
        make_criterion(task, name, label_smoothing=0.1, ignore_prefix_size=prefix)
        for name in (NAME, "label_smoothed_cross_entropy")
    )
    loss, _, log = ours(model, sample, reduce=False)
    assert torch.equal(loss, theirs(model, sample, reduce=False)[0].squeeze(-1))
    assert loss.shape == sample["target"][:, prefix:].flatten().shape
    whole, _, whole_log = ours(model, sample)
    assert loss.sum().item() == pytest.approx(whole.item(), rel=1e-6)
    assert log["loss"].item() == pytest.approx(whole_log["loss"].item(), rel=1e-6)


@pytest.mark.parametrize("prior", ["uniform", "unigram"])
@pytest.mark.parametrize("prefix", [0, 1])
def test_loss_and_every_gradient_are_the_formulas(task, prior, prefix):
    model, sample = make_model(task).eval(), batch(task, range(9))
    shares = None
    if prior == "unigram":
        counts = [0] * len(task.target_dictionary)
        for line in task.dataset("train").tgt:
            for token in line.tolist():
                counts[token] += 1
        assert counts[task.target_dictionary.eos()] == 60  # the ends of sentences are counted too
        shares = [count / sum(counts) for count in counts]
    criterion = make_criterion(task, NAME, label_smoothing=0.3, smoothing_prior=prior, ignore_prefix_size=prefix)
    loss, _, _ = criterion(model, sample)
    counts = sample["target"].ne(task.target_dictionary.pad())
    counts[:, :prefix] = False
    scores = logits(model, sample)
    wanted = distillation(scores, sample["target"], counts, alpha=0.3, prior=shares)
    assert loss.item() == pytest.approx(wanted.loss, rel=1e-5)
    assert_gradients(backward(model, loss), model, scores, wanted.gradient)


def test_scaled_loss_has_scaled_gradients(task):
    """Under --fp16 fairseq multiplies the loss by its scale."""
    model, sample, criterion = make_model(task).eval(), batch(task, range(5)), make_criterion(task, NAME)
    once = backward(model, criterion(model, sample)[0])
    scaled = backward(model, criterion(model, sample)[0] * 3.7)
    assert_same(scaled, {name: 3.7 * gradient for name, gradient in once.items()}, tolerance=1e-5)


@pytest.mark.parametrize("prior", ["uniform", "unigram"])
def test_a_batch_of_padding_is_zero_and_differentiable(task, prior):
    model, criterion = make_model(task), make_criterion(task, NAME, smoothing_prior=prior)
    loss, _, log = criterion(model, set_aside(batch(task, range(4)), task.target_dictionary.pad()))
    assert loss.item() == 0
    assert not any(gradient.any() for gradient in backward(model, loss).values())
    values = reduced(criterion, [log], [log])
    assert all(math.isfinite(value) for value in values.values())


@pytest.mark.parametrize("prefix", [0, 1])
def test_validation_logs_are_the_definitions_over_batches_and_workers(task, prefix):
    model = make_model(task).eval()
    criterion = make_criterion(task, NAME, ignore_prefix_size=prefix, label_smoothing=0.2).eval()
    pad = task.target_dictionary.pad()
    workers = [[batch(task, ids, "valid") for ids in step] for step in ([[0, 1, 2], [3]], [[4, 5], [6, 7, 8]])]
    logs = [[criterion(model, sample)[2] for sample in step] for step in workers]

    rows, labels = [], []
    loss = tokens = 0
    for sample in [sample for step in workers for sample in step]:
        counts = sample["target"].ne(pad)
        counts[:, :prefix] = False
        scores = logits(model, sample)
        rows.append(scores[counts])
        labels.append(sample["target"][counts])
        loss += distillation(scores, sample["target"], counts, alpha=0.2).loss
        tokens += sample["ntokens"]
    rows, labels = torch.cat(rows), torch.cat(labels)
    everything = torch.ones_like(labels, dtype=torch.bool)
    wanted = predictions(rows, labels, everything)
    nll = distillation(rows, labels, everything).nll / len(labels) / math.log(2)

    # fairseq logs after each step, from the list of the workers' outputs or from their sum.
    for found in (reduced(criterion, *logs), reduced(criterion, *([summed(step)] for step in logs))):
        assert found["loss"] == pytest.approx(loss / tokens / math.log(2), abs=6e-4)
        assert found["nll_loss"] == pytest.approx(nll, abs=6e-4)
        assert found["ppl"] == pytest.approx(2**nll, abs=6e-3)
        assert found["accuracy"] == pytest.approx(100 * wanted.correct / wanted.tokens, abs=6e-4)
        assert found["entropy"] == pytest.approx(wanted.entropy / wanted.tokens / math.log(2), abs=6e-4)
        assert found["ece"] == pytest.approx(wanted.ece, abs=6e-5)
        assert not [name for name in found if name.startswith(("_", "gap"))]
    assert 0 < wanted.correct < wanted.tokens == len(labels)


def test_perplexity_is_per_token_of_the_mask(task):
    """fairseq's criterion divides by all tokens, so its perplexity is too low with a prefix."""
    model, sample = make_model(task).eval(), batch(task, range(9), "valid")
    log = make_criterion(task, NAME, ignore_prefix_size=2)(model, sample)[2]
    counted = sample["target"][:, 2:].ne(task.target_dictionary.pad()).sum()
    assert log["nll_tokens"] == counted < sample["ntokens"] == log["ntokens"]


def test_training_logs_no_prediction_statistics(task):
    criterion, model, sample = make_criterion(task, NAME), make_model(task), batch(task, range(3))
    assert "n_correct" in criterion.eval()(model, sample)[2]
    log = criterion.train()(model, sample)[2]
    assert "n_correct" not in log
    assert not {"accuracy", "ece", "entropy"} & reduced(criterion, [log]).keys()
    assert LabelSmoothedTeacherCriterion.logging_outputs_can_be_summed()


def test_unigram_prior_loads_the_training_data_if_needed(task):
    """`fairseq-validate` does not load the training data."""
    model, sample = make_model(task).eval(), batch(task, range(3))
    flags = {"smoothing_prior": "unigram", "label_smoothing": 0.3}
    wanted = make_criterion(task, NAME, **flags)(model, sample)[0]
    del task.datasets["train"]
    assert torch.equal(make_criterion(task, NAME, **flags)(model, sample)[0], wanted)


def test_without_smoothing_no_unigram_prior_is_counted(task, monkeypatch):
    """Without label smoothing the prior has no effect, and a validation may have no training data."""
    model, sample = make_model(task).eval(), batch(task, range(3))
    del task.datasets["train"]
    monkeypatch.setattr(task, "load_dataset", refuse)
    wanted = make_criterion(task, NAME, label_smoothing=0.0)(model, sample)[0]
    assert torch.equal(
        make_criterion(task, NAME, smoothing_prior="unigram", label_smoothing=0.0)(model, sample)[0], wanted
    )
    with pytest.raises(SystemExit, match=r"--smoothing-prior unigram needs .*split train.* not found"):
        make_criterion(task, NAME, smoothing_prior="unigram", label_smoothing=0.1)(model, sample)


def refuse(split, **_):
    raise FileNotFoundError(f"Dataset not found: {split}")
