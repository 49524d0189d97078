"""`seq_kd`: sentence weights in the loss and its denominator, and invalid files of weights."""

import functools
import json

import numpy as np
import pytest
import torch
from fairseq.logging import metrics
from fairseq.tasks import setup_task
from reference import distillation
from tiny import (
    assert_gradients,
    assert_same,
    backward,
    batch,
    configure,
    logits,
    make_criterion,
    make_model,
    make_trainer,
)

from fairseq_lskd.errors import UserError
from fairseq_lskd.files import sha256
from fairseq_lskd.sequences import SequenceWeights

from . import test_word_kd

pytestmark = pytest.mark.usefixtures("teachers_loaded_once")

SENTENCES = 60


def save_weights(path, weight, reference=None):
    reference = np.zeros(len(weight), bool) if reference is None else reference
    SequenceWeights(np.asarray(weight, np.float32), np.asarray(reference)).save(path)
    return str(path)


def uneven():
    """Return weights that all differ, except for some that are 0."""
    return np.where(np.arange(SENTENCES) % 5 == 3, 0, 0.1 + np.arange(SENTENCES) / 7).astype(np.float32)


def make_seq(task, path=None, **settings):
    return make_criterion(task, "seq_kd", sequence_weights=path, **settings).train()


@pytest.fixture
def student(task):
    """A student without dropout. The mode of the criterion, not of the model, decides whether weights apply."""
    return make_model(task).eval()


def counted(task, sample):
    return sample["target"].ne(task.target_dictionary.pad())


@pytest.mark.parametrize("sentence_avg", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.2])
def test_weighted_sum_of_the_losses_of_the_sentences(task, student, tmp_path, sentence_avg, alpha):
    weights = uneven()
    criterion = make_seq(
        task, save_weights(tmp_path / "w.npz", weights), sentence_avg=sentence_avg, label_smoothing=alpha
    )
    plain = make_criterion(task, "label_smoothed_cross_entropy", label_smoothing=alpha)
    ids = [7, 40, 3, 22, 13, 59, 0]
    loss, size, log = criterion(student, batch(task, ids))
    alone = {i: batch(task, [i]) for i in ids}
    wanted = sum(float(weights[i]) * plain(student, sample)[0].item() for i, sample in alone.items())
    assert loss.item() == log["loss"].item() == pytest.approx(wanted, rel=1e-5)
    per_sentence = {i: 1 if sentence_avg else sample["ntokens"] for i, sample in alone.items()}
    assert float(size) == pytest.approx(sum(float(weights[i]) * per_sentence[i] for i in ids), rel=1e-6)
    assert log["nsentences"] == len(ids) and log["ntokens"] == sum(sample["ntokens"] for sample in alone.values())


def test_the_ids_of_a_batch_are_shuffled(task):
    """Otherwise the test above would pass with weights that are looked up by row."""
    assert batch(task, [7, 40, 3, 22, 13, 59, 0])["id"].tolist() != [7, 40, 3, 22, 13, 59, 0]


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("teacher", [False, True])
def test_loss_and_every_gradient_are_the_formula(task, student, teacher_path, tmp_path, prefix, teacher):
    weights = uneven()
    settings = {"label_smoothing": 0.1, "ignore_prefix_size": prefix}
    if teacher:
        settings |= {"teacher_path": str(teacher_path), "kd_weight": 0.3, "kd_temperature": 2.0}
    path = save_weights(tmp_path / "w.npz", weights)
    criterion = make_seq(task, path, **settings)
    sample = batch(task, range(10))
    counts = counted(task, sample)
    counts[:, :prefix] = False
    formula = {}
    if teacher:
        with torch.no_grad():
            teachers = [logits(model, sample) for model in criterion.teacher.models]
        formula = {"kd_weight": 0.3, "temperature": 2.0, "teachers": teachers}
    scores = logits(student, sample)
    weight = torch.from_numpy(weights)[sample["id"]].unsqueeze(1)
    wanted = distillation(scores, sample["target"], counts, alpha=0.1, weights=weight, **formula)
    loss, size, log = criterion(student, sample)
    assert loss.item() == pytest.approx(wanted.loss, rel=1e-5)
    assert ("kd_loss" in log) == teacher
    if teacher:
        assert log["kd_loss"].item() == pytest.approx(wanted.kd, rel=1e-5) and wanted.kd > 1
    assert size.item() == pytest.approx((weight * counted(task, sample)).sum().item())
    # The weights do not change the perplexity.
    assert log["nll_loss"].item() == pytest.approx(wanted.nll, rel=1e-5)
    assert_gradients(backward(student, loss), student, scores, wanted.gradient)
    unreduced = criterion(student, sample, reduce=False)[0]
    assert unreduced.dim() == 1 and unreduced.sum().item() == pytest.approx(loss.item(), rel=1e-5)


@pytest.mark.parametrize("sentence_avg", [False, True])
def test_weights_of_1_are_the_plain_loss_exactly(task, student, tmp_path, sentence_avg):
    sample = batch(task, range(12))
    ones = save_weights(tmp_path / "w.npz", np.ones(SENTENCES))
    weighted, size, _ = make_seq(task, ones, sentence_avg=sentence_avg, loss_form="plain")(student, sample)
    for name in ("seq_kd", "label_smoothed_cross_entropy"):
        form = {"loss_form": "plain"} if name == "seq_kd" else {}
        plain, wanted_size, _ = make_criterion(task, name, sentence_avg=sentence_avg, **form).train()(student, sample)
        assert torch.equal(weighted, plain) and float(size) == wanted_size
        assert_same(
            backward(student, plain), backward(student, make_seq(task, ones, loss_form="plain")(student, sample)[0])
        )
        weighted = make_seq(task, ones, loss_form="plain")(student, sample)[0]


def test_validation_counts_every_sentence_once(task, student, tmp_path):
    weighted = make_seq(task, save_weights(tmp_path / "w.npz", uneven())).eval()
    for split in ("train", "valid"):
        sample = batch(task, range(6), split)
        loss, size, _ = weighted(student, sample)
        plain = make_criterion(task, "cross_entropy").eval()(student, sample)[0]
        assert loss.item() == pytest.approx(plain.item(), rel=1e-6) and size == sample["ntokens"]


def test_only_proportions_matter_to_an_update(bitext, task, tmp_path):
    """The denominator is weighted too: weights ten times as large give the same update."""

    def updated(weights):
        model = make_model(task, "--dropout", "0")
        criterion = make_seq(task, save_weights(tmp_path / "w.npz", weights))
        trainer = make_trainer(bitext, task, model, criterion, "--dropout", "0", "--clip-norm", "0")
        trainer.train_step([batch(task, range(5)), batch(task, range(5, 12))])
        return {name: weight.detach() for name, weight in model.named_parameters()}

    one, ten, flat = updated(uneven()), updated(10 * uneven()), updated(np.ones(SENTENCES))
    assert_same(ten, one, tolerance=1e-5)
    assert any((one[name] - flat[name]).abs().max() > 1e-2 for name in one)


@pytest.mark.parametrize("sentence_avg", [False, True])
def test_only_proportions_matter_to_what_is_logged(task, student, tmp_path, sentence_avg):
    """Also if the whole weight of a batch is less than 1."""

    def logged(weights):
        criterion = make_seq(task, save_weights(tmp_path / "w.npz", weights), sentence_avg=sentence_avg)
        with metrics.aggregate(new_root=True) as found:
            criterion.reduce_metrics([criterion(student, batch(task, range(3)))[2]])
        return dict(found.get_smoothed_values())

    small, usual = logged(1e-4 * uneven()), logged(uneven())
    assert small["loss"] == pytest.approx(usual["loss"], abs=2e-3) and usual["loss"] > 1
    assert small["ppl"] == usual["ppl"]


def test_a_batch_without_weight_is_zero_and_differentiable(task, student, tmp_path):
    only = save_weights(tmp_path / "w.npz", np.eye(1, SENTENCES, 50)[0])
    loss, size, _ = make_seq(task, only)(student, batch(task, range(4)))
    assert loss.item() == 0 and size.item() == 0
    assert not any(gradient.any() for gradient in backward(student, loss).values())


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_reference_weight_shares_the_loss(task, student, tmp_path, share):
    """References (here sentences 30 and later) have r times their weight, translations 1 - r times."""
    weights, reference = uneven(), np.arange(SENTENCES) >= 30
    path = save_weights(tmp_path / "w.npz", weights, reference)
    sample = batch(task, [1, 2, 31, 32, 33])
    loss, size, _ = make_seq(task, path, reference_weight=share)(student, sample)
    translations, t_size, _ = make_seq(task, path)(student, batch(task, [1, 2]))
    references, r_size, _ = make_seq(task, path)(student, batch(task, [31, 32, 33]))
    assert loss.item() == pytest.approx((share * references + (1 - share) * translations).item(), rel=1e-5)
    assert size.item() == pytest.approx((share * r_size + (1 - share) * t_size).item(), rel=1e-5)


CHANGES = {"label_smoothing": 0.4, "ignore_prefix_size": 1, "kd_weight": 0.7, "kd_temperature": 3.0}
CHANGES |= {"reference_weight": 0.9, "smoothing_prior": "unigram"}
#: The options that both criterions have are those of word_kd's tests.
CHANGES = {**test_word_kd.CHANGES, **CHANGES}


@pytest.mark.parametrize("flag", CHANGES)
def test_every_flag_does_something(task, student, teacher_path, tmp_path, flag):
    path = save_weights(tmp_path / "w.npz", uneven(), np.arange(SENTENCES) < 5)
    change, needed = test_word_kd.changed_flags(flag, CHANGES)
    settings = {"teacher_path": str(teacher_path), "label_smoothing": 0.2, **needed}
    sample = batch(task, range(9))
    loss = make_seq(task, path, **settings)(student, sample)[0].item()
    changed = make_seq(task, path, **{**settings, **change})(student, sample)[0].item()
    assert abs(changed / loss - 1) > 1e-3


# Invalid files of weights.


def text(path):
    path.write_text("0.5\n0.5\n")


def array(path):
    with path.open("wb") as stream:
        np.save(stream, np.ones(SENTENCES, np.float32))


def truncated(path):
    save_weights(path, np.ones(SENTENCES))
    path.write_bytes(path.read_bytes()[:200])


def archive(**arrays):
    def make(path):
        np.savez(path, **arrays)

    return make


ONES, NONE = np.ones(SENTENCES, np.float32), np.zeros(SENTENCES, bool)


class Payload:
    """An object that ends the process when it is unpickled."""

    def __reduce__(self):
        return (exit, ("a pickle was loaded",))


BROKEN = {
    "missing": (lambda path: None, "no such file"),
    "folder": (lambda path: path.mkdir(), "no such file"),
    "empty": (lambda path: path.touch(), "expected the .npz"),
    "text": (text, "expected the .npz"),
    "one array": (array, "expected the .npz"),
    "truncated": (truncated, "expected the .npz"),
    "other names": (archive(weights=ONES, reference=NONE), "expected the .npz"),
    "pickled objects": (archive(weight=np.array([Payload()] * 3), reference=NONE), "expected the .npz"),
    "float64": (archive(weight=ONES.astype(float), reference=NONE), "found float64"),
    "two axes": (archive(weight=ONES[None], reference=NONE[None]), r"\[1, 60\]"),
    "other lengths": (archive(weight=ONES, reference=NONE[1:]), r"float32 \[59\]"),
    "no shares": (archive(weight=ONES, reference=3 * ONES), "`reference` of sentence 0 is 3.0, expected 0 to 1"),
    "numbers": (archive(weight=ONES, reference=ONES.astype(int)), "reference` float32"),
    "NaN": (
        archive(weight=np.where(np.arange(60) == 7, np.nan, ONES).astype("f"), reference=NONE),
        "sentence 7 is nan",
    ),
    "infinite": (archive(weight=np.where(np.arange(60) == 7, np.inf, ONES).astype("f"), reference=NONE), "7 is inf"),
    "negative": (archive(weight=ONES - 2 * (np.arange(60) == 59).astype("f"), reference=NONE), "59 is -1"),
    "nothing but 0": (archive(weight=0 * ONES, reference=NONE), "every weight is 0"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_files_that_are_no_weights(task, tmp_path, kind):
    make, message = BROKEN[kind]
    path = tmp_path / "w.npz"
    make(path)
    with pytest.raises(SystemExit, match=message) as error:
        make_seq(task, str(path))
    assert str(error.value).startswith(f"--criterion seq_kd: error: --sequence-weights {path}")


def test_weights_of_other_data(task, student, tmp_path):
    criterion = make_seq(task, save_weights(tmp_path / "w.npz", np.ones(61)))
    with pytest.raises(SystemExit, match=r"61 weights.* 60 sentences.*lskd select"):
        criterion(student, batch(task, [0, 1]))
    criterion.eval()(student, batch(task, [0, 1], "valid"))


def test_weights_of_other_data_are_found_before_the_data_are_loaded(bitext, student, tmp_path):
    task = setup_task(configure(bitext).task)
    trainer = functools.partial(make_trainer, bitext, task, student)
    with pytest.raises(SystemExit, match=r"61 weights.* 60 sentences.*lskd select"):
        trainer(make_seq(task, save_weights(tmp_path / "w.npz", np.ones(61))))
    fits = make_seq(task, save_weights(tmp_path / "w.npz", np.ones(60)))
    fits.begin(student, 0)
    (tmp_path / "select.json").write_text(json.dumps({"digests": {"data-bin/train.de-en.en.idx": "0" * 64}}))
    with pytest.raises(UserError, match=str(tmp_path / "data-bin")):
        fits.begin(student, 0)
    assert not task.datasets


def test_weights_of_another_selection_with_as_many_sentences(bitext, task, student, tmp_path):
    """The digest in the manifest beside the weights tells whose they are."""
    index = "train.de-en.en.idx"
    for recorded, fits in ((sha256(bitext / index), True), ("0" * 64, False)):
        (tmp_path / "select.json").write_text(json.dumps({"digests": {f"data-bin/{index}": recorded}}))
        criterion = make_seq(task, save_weights(tmp_path / "w.npz", np.ones(SENTENCES)))
        if fits:
            criterion(student, batch(task, [0, 1]))
        else:
            with pytest.raises(SystemExit, match="--sequence-weights") as caught:
                criterion(student, batch(task, [0, 1]))
            assert str(tmp_path / "data-bin") in str(caught.value) and str(bitext) in str(caught.value)


@pytest.mark.parametrize(("share", "reference", "kind"), [(1.0, NONE, "translations"), (0.0, ~NONE, "references")])
def test_a_share_that_leaves_nothing(task, tmp_path, share, reference, kind):
    path = save_weights(tmp_path / "w.npz", ONES, reference)
    with pytest.raises(SystemExit, match=f"leaves no sentence to train on: all targets are {kind}"):
        make_seq(task, path, reference_weight=share)


def test_weights_for_data_in_several_folders(task, student, tmp_path, monkeypatch):
    criterion = make_seq(task, save_weights(tmp_path / "w.npz", np.ones(60)))
    monkeypatch.setattr(task.cfg, "data", f"{task.cfg.data}:{task.cfg.data}")
    with pytest.raises(SystemExit, match="needs the training data in one folder"):
        criterion(student, batch(task, range(4)))


def test_weights_beside_the_training_data_are_named(task, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", logger="fairseq_lskd")
    monkeypatch.setattr(task.cfg, "data", str(tmp_path / "data-bin"))
    criterion = make_criterion(task, "seq_kd")
    criterion.begin(make_model(task), 10)
    assert "without --sequence-weights every training sentence has the weight 1" in caplog.text
    weights = tmp_path / "train.weights.npz"
    weights.touch()
    criterion.begin(make_model(task), 10)
    assert caplog.records[-1].levelname == "WARNING" and f"give --sequence-weights {weights}" in caplog.text
