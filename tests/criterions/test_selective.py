"""`--kd-select`: exactly the hardest tokens are taught, and a resumed training has the same queue."""

import math

import numpy as np
import pytest
import torch
from reference import Comparison, hardest, mean_at_temperature, weighted
from tiny import (
    assert_gradients,
    assert_same,
    backward,
    batch,
    logits,
    make_criterion,
    make_model,
    make_task,
    make_trainer,
    set_aside,
    write,
)

from fairseq_lskd.criterions._selection import CRITERIA
from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences import SequenceWeights

pytestmark = pytest.mark.usefixtures("teachers_loaded_once")

BATCHES = (range(6), range(20, 31), [7], range(40, 45))


@pytest.fixture
def student(task):
    return make_model(task).eval()


def make_kd(task, teacher_path, select="global", **settings):
    return make_criterion(task, "word_kd", teacher_path=str(teacher_path), kd_select=select, **settings).train()


def queue_of(criterion):
    """Return the values in the queue, oldest first."""
    values = criterion.queue.view(torch.float32)
    return values[~values.isnan()].tolist()


def by_hand(task, student, criterion, sample, share, remembered, size, prefix=0):
    """Return the tokens' cross-entropies, which tokens are taught, and the loss computed from the formulas."""
    counts = sample["target"].ne(task.target_dictionary.pad())
    counts[:, :prefix] = False
    scores = logits(student, sample)
    with torch.no_grad():
        teacher = logits(criterion.teacher.models[0], sample)[counts]
    labels = sample["target"][counts]
    nll = weighted(scores[counts], labels, [1.0] * len(labels)).nll
    # In float32, like the values of the queue.
    nll = torch.tensor(nll).tolist()
    others = None if remembered is None else (remembered + nll)[-size:]
    taught = hardest(nll, share, others)
    found = weighted(
        scores[counts],
        labels,
        [0.5] * len(labels),
        log_teacher=mean_at_temperature([teacher], 1.0),
        teacher_weights=[0.5 * hard for hard in taught],
        how=Comparison(),
    )
    slopes = torch.zeros_like(scores, dtype=torch.float64)
    slopes[counts] = found.gradient
    return nll, taught, found, scores, slopes


@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_hardest_of_a_batch_are_taught(task, student, teacher_path, form, prefix, share):
    settings = {"kd_select_share": share, "ignore_prefix_size": prefix, "loss_form": form}
    criterion = make_kd(task, teacher_path, "batch", **settings)
    for ids in BATCHES[:3]:
        sample = batch(task, ids)
        nll, taught, wanted, scores, slopes = by_hand(task, student, criterion, sample, share, None, 0, prefix)
        assert sum(taught) == math.ceil(share * len(nll))
        loss, size, log = criterion(student, sample)
        assert loss.item() == pytest.approx(wanted.loss, rel=1e-5) and size == sample["ntokens"]
        assert log["kd_loss"].item() == pytest.approx(sum(wanted.kd), rel=1e-5)
        assert_gradients(backward(student, loss), student, scores, slopes)


@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize("size", [20, 90, 1000])
def test_the_hardest_of_the_last_batches_are_taught(task, student, teacher_path, form, size):
    """Tokens are compared with the last `size` tokens, those of the batch included."""
    criterion = make_kd(task, teacher_path, kd_select_share=0.3, kd_queue_size=size, loss_form=form)
    remembered, shares = [], []
    for ids in BATCHES:
        sample = batch(task, ids)
        nll, taught, wanted, scores, slopes = by_hand(task, student, criterion, sample, 0.3, remembered, size)
        loss, _, log = criterion(student, sample)
        assert loss.item() == pytest.approx(wanted.loss, rel=1e-5)
        assert log["kd_loss"].item() == pytest.approx(sum(wanted.kd), rel=1e-5)
        assert_gradients(backward(student, loss), student, scores, slopes)
        remembered = (remembered + nll)[-size:]
        assert queue_of(criterion) == pytest.approx(remembered, rel=1e-5)
        shares.append(sum(taught) / len(taught))
    assert len({*shares, 0.3}) > 2  # batches differ in difficulty, so the share is not 0.3 in each


def test_sentence_weights_do_not_change_the_selection(task, student, teacher_path, tmp_path):
    SequenceWeights(np.linspace(0, 9, 60, dtype=np.float32), np.zeros(60, bool)).save(tmp_path / "w.npz")
    settings = {"teacher_path": str(teacher_path), "kd_select": "global"}
    found = []
    for weights in ({}, {"sequence_weights": str(tmp_path / "w.npz")}):
        criterion = make_criterion(task, "seq_kd", **settings, **weights).train()
        criterion(student, batch(task, range(6)))
        found.append(queue_of(criterion))
    assert found[0] == found[1] and found[0]


def test_validation_teaches_all_tokens_and_leaves_the_queue_empty(task, student, teacher_path):
    sample = batch(task, range(6), "valid")
    wanted = make_kd(task, teacher_path, "all").eval()(student, sample)[0].item()
    for select in ("batch", "global"):
        criterion = make_kd(task, teacher_path, select, kd_select_share=0.1).eval()
        assert criterion(student, sample)[0].item() == wanted
    assert queue_of(criterion) == []


@pytest.mark.parametrize("form", ["fused", "plain"])
def test_a_batch_of_padding_does_not_change_the_queue(task, student, teacher_path, form):
    criterion = make_kd(task, teacher_path, kd_queue_size=30, loss_form=form)
    criterion(student, batch(task, range(3)))
    before = queue_of(criterion)
    loss = criterion(student, set_aside(batch(task, range(4)), task.target_dictionary.pad()))[0]
    assert loss.item() == 0 and queue_of(criterion) == before and before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_leaves_the_queue_intact(task, student, teacher_path, dtype):
    """Under --fp16 fairseq converts criterions too."""
    criterion = make_kd(task, teacher_path)
    criterion(student, batch(task, range(6)))
    before = queue_of(criterion)
    assert any(value != torch.tensor(value, dtype=dtype).item() for value in before)
    criterion.to(dtype)
    assert queue_of(criterion) == before
    loss, _, _ = criterion(student, batch(task, range(6, 12)))
    assert queue_of(criterion)[: len(before)] == before and len(queue_of(criterion)) > len(before)
    assert loss.dtype == torch.float32


# Training and resuming.

FLAGS = ("--clip-norm", "1", "--dropout", "0.2")


def make_run(data, teacher_path, *flags, select="global", **settings):
    """A trainer of a new student, and its criterion."""
    task = make_task(data)
    flags = ("--criterion", "word_kd", "--teacher-path", str(teacher_path), *FLAGS, *flags)
    criterion = make_kd(task, teacher_path, select, **settings)
    return make_trainer(data, task, make_model(task, *flags), criterion, *flags), criterion


def update(trainer, *steps):
    for ids in steps:
        trainer.train_step([batch(trainer.task, ids)])


def weights_of(trainer):
    """Return the trained weights, without `in_proj_weight` and other copies for fairseq's fast inference."""
    weights = trainer.get_model().named_parameters()
    return {name: weight.detach().clone() for name, weight in weights if not name.endswith(("_weight", "_bias"))}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_student_is_trained_as_without_a_queue(bitext, teacher_path, optimizer):
    """The criterion's parameter, which makes fairseq save the queue, has no other effect."""
    found = []
    for select in ("all", "global"):
        flags = ("--optimizer", optimizer, "--weight-decay", "0.1")
        share = {"kd_select_share": 1.0} if select == "global" else {}
        trainer, criterion = make_run(bitext, teacher_path, *flags, select=select, **share)
        update(trainer, *BATCHES[:3])
        found.append(weights_of(trainer))
    assert_same(*found)
    assert [weight.item() for weight in criterion.parameters()] == [0]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_resumed_training_equals_an_uninterrupted_one(bitext, teacher_path, tmp_path, optimizer):
    flags, settings = ("--optimizer", optimizer), {"kd_queue_size": 70, "kd_select_share": 0.2}
    whole, criterion = make_run(bitext, teacher_path, *flags, **settings)
    update(whole, *BATCHES[:2])
    path = write(tmp_path / "half.pt", whole)
    update(whole, *BATCHES[2:])
    resumed, its_criterion = make_run(bitext, teacher_path, *flags, **settings)
    resumed.load_checkpoint(str(path))
    update(resumed, *BATCHES[2:])
    assert_same(weights_of(resumed), weights_of(whole))
    assert queue_of(its_criterion) == queue_of(criterion) and len(queue_of(criterion)) == 70

    emptied, _ = make_run(bitext, teacher_path, *flags, **settings)
    emptied.load_checkpoint(str(path))
    emptied.get_criterion().queue.fill_(torch.tensor(math.nan).view(torch.int32))
    update(emptied, *BATCHES[2:])
    assert any((weights_of(emptied)[name] - weight).abs().max() > 1e-3 for name, weight in weights_of(whole).items())


@pytest.fixture
def checkpoint(bitext, teacher_path, tmp_path):
    """The checkpoint of a training with a queue of 70 tokens, and the content of the queue."""
    trainer, criterion = make_run(bitext, teacher_path, kd_queue_size=70)
    update(trainer, *BATCHES[:2])
    return write(tmp_path / "with_queue.pt", trainer), queue_of(criterion)


@pytest.mark.parametrize("size", [7, 70, 500])
def test_a_resumed_training_may_have_another_queue_size(bitext, teacher_path, checkpoint, size):
    path, remembered = checkpoint
    trainer, criterion = make_run(bitext, teacher_path, kd_queue_size=size)
    trainer.load_checkpoint(str(path))
    assert queue_of(criterion) == remembered[-size:] and len(criterion.queue) == size
    update(trainer, range(3))
    assert len(queue_of(criterion)) == min(size, 70 + batch(trainer.task, range(3))["ntokens"])


def test_the_queue_is_not_in_the_models_part_of_a_checkpoint(task, checkpoint):
    state = torch.load(checkpoint[0], weights_only=True)
    assert state["model"].keys() == make_model(task).state_dict().keys()
    assert state["criterion"].keys() == {"anchor", "queue"}


def test_training_resumes_from_a_checkpoint_without_a_queue(bitext, teacher_path, tmp_path):
    """The checkpoint's optimizer has one parameter less, so --reset-optimizer is needed."""
    plain, _ = make_run(bitext, teacher_path, select="all")
    update(plain, BATCHES[0])
    path = write(tmp_path / "plain.pt", plain)
    trainer, criterion = make_run(bitext, teacher_path)
    trainer.load_checkpoint(str(path), reset_optimizer=True)
    assert_same(weights_of(trainer), weights_of(plain))
    assert queue_of(criterion) == []
    update(trainer, BATCHES[1])
    assert queue_of(criterion)


def test_training_resumes_without_the_queue_of_a_checkpoint(bitext, teacher_path, checkpoint):
    trainer, criterion = make_run(bitext, teacher_path, select="batch")
    trainer.load_checkpoint(str(checkpoint[0]), reset_optimizer=True)
    update(trainer, BATCHES[2])
    assert not criterion.state_dict()


@pytest.mark.parametrize("select", ["all", "batch"])
def test_only_a_global_selection_has_a_queue(task, teacher_path, select):
    criterion = make_kd(task, teacher_path, select)
    assert not criterion.state_dict() and not list(criterion.parameters())


# Other criteria than the student's own cross-entropy.


def values_by_hand(by, task, student, criterion, sample, counts):
    """Return the value of each token of the mask, computed in loops over sentences and types."""
    target, found = sample["target"], []
    scores = logits(student, sample).detach().double().log_softmax(-1)
    with torch.no_grad():
        theirs = [logits(model, sample).double().softmax(-1) for model in criterion.teacher.models]
    teacher = sum(theirs) / len(theirs)
    text = [int(token) for i in range(60) for token in task.dataset("train").tgt[i]]
    for i, row in enumerate(target.tolist()):
        ce = [-scores[i, t, row[t]].item() for t in range(len(row)) if counts[i, t]]
        for t, label in enumerate(row):
            if not counts[i, t]:
                continue
            p = teacher[i, t].tolist()
            found.append(
                {
                    "word_ce": -scores[i, t, label].item(),
                    "sentence_ce": sum(ce) / len(ce),
                    "word_norm": student.decoder.embed_tokens.weight[label].norm().item(),
                    "frequency": text.count(label),
                    "length": sum(token != task.target_dictionary.pad() for token in row),
                    "teacher_entropy": -sum(x * math.log(x) for x in p),
                    "teacher_golden": p[label],
                }[by]
            )
    return found


@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize("side", ["high", "low"])
@pytest.mark.parametrize("by", CRITERIA)
def test_what_each_criterion_teaches(task, student, teacher_path, other_teacher_path, form, side, by):
    """With a prefix, and the mean of two teachers at temperature 1, whatever the temperature of the loss."""
    flags = {"kd_select_by": by, "kd_select_side": side, "kd_select_share": 0.4, "kd_temperature": 2.0}
    paths = f"{teacher_path}:{other_teacher_path}"
    criterion = make_kd(task, paths, "batch", loss_form=form, ignore_prefix_size=1, **flags)
    sample = batch(task, [*range(6), 9, 44])
    counts = sample["target"].ne(task.target_dictionary.pad())
    counts[:, :1] = False
    values = values_by_hand(by, task, student, criterion, sample, counts)
    # Rounded, as equal values are taught together.
    taught = hardest([round(value if side == "high" else -value, 5) for value in values], 0.4)
    assert 0 < sum(taught) < len(taught)
    with torch.no_grad():
        theirs = [logits(model, sample)[counts] for model in criterion.teacher.models]
        scores = logits(student, sample)[counts]
    wanted = weighted(
        scores,
        sample["target"][counts],
        [0.5] * len(values),
        log_teacher=mean_at_temperature(theirs, 2.0),
        teacher_weights=[0.5 * hard for hard in taught],
        how=Comparison(temperature=2.0),
    )
    loss, _, log = criterion(student, sample)
    assert loss.item() == pytest.approx(wanted.loss, rel=1e-5)
    assert log["kd_loss"].item() == pytest.approx(sum(wanted.kd), rel=1e-5)


def test_the_teacher_runs_once_per_batch(task, student, teacher_path, monkeypatch):
    """The teacher's entropy and its distribution come from the same call."""
    criterion, calls = make_kd(task, teacher_path, "batch", kd_select_by="teacher_entropy"), []
    real = criterion.teacher.projections
    monkeypatch.setattr(criterion.teacher, "projections", lambda *args: calls.append(1) or real(*args))
    criterion(student, batch(task, range(6)))
    assert len(calls) == 1


def test_the_queue_holds_the_values_of_the_criterion(task, student, teacher_path):
    criterion = make_kd(task, teacher_path, kd_select_by="frequency", kd_select_side="low", kd_queue_size=40)
    sample = batch(task, range(6))
    criterion(student, sample)
    counts = sample["target"].ne(task.target_dictionary.pad())
    wanted = values_by_hand("frequency", task, student, criterion, sample, counts)
    assert queue_of(criterion) == [-value for value in wanted][-40:]


def test_word_norm_needs_a_student_with_embeddings(task, teacher_path):
    criterion = make_kd(task, teacher_path, "batch", kd_select_by="word_norm")
    with pytest.raises(UserError, match="--kd-select-by word_norm: Linear has no target embeddings"):
        criterion.begin(torch.nn.Linear(2, 2), 0)
