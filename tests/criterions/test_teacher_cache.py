"""`--teacher-cache`: the same loss as with an online teacher, up to float16, and no teacher in memory."""

import itertools

import numpy as np
import pytest
import torch
from cached import K, blocks, flip, write_cache
from tiny import assert_same, backward, batch, make_criterion, make_model, make_trainer

from fairseq_lskd.sequences import SequenceWeights

KD = ("word_kd", "seq_kd")
FORMS = ("fused", "plain")


@pytest.fixture(scope="module")
def cache(bitext, teacher_path, tmp_path_factory):
    return write_cache(bitext, teacher_path, tmp_path_factory.mktemp("cached") / "cache")


@pytest.fixture
def student(task):
    return make_model(task).eval()


@pytest.mark.parametrize(("name", "form"), [*itertools.product(KD, FORMS)])
@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"kd_rest": "renormalise", "kd_weight": 1.0},
        {"kd_divergence": "reverse_kl", "ignore_prefix_size": 2},
        {"kd_top_k": 2, "kd_ranking": 2, "label_smoothing": 0.2},
        {"kd_select": "batch"},
    ],
)
def test_the_loss_is_that_of_an_online_teacher_with_the_top_k(task, student, teacher_path, cache, name, form, flags):
    sample = batch(task, [30, 2, 17, 5, 44])
    cached = make_criterion(task, name, teacher_cache=str(cache), loss_form=form, **flags).train()
    online = {"kd_top_k": K, **flags, "teacher_path": str(teacher_path), "loss_form": form}
    loss, size, log = cached(student, sample)
    wanted, wanted_size, wanted_log = make_criterion(task, name, **online).train()(student, sample)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-3) and size == wanted_size
    assert log["kd_loss"].item() == pytest.approx(wanted_log["kd_loss"].item(), rel=2e-3)
    assert_same(backward(student, loss), backward(student, wanted), tolerance=2e-3)


def test_both_forms_give_the_same_loss(task, student, cache):
    sample, found = batch(task, range(8)), []
    for form in FORMS:
        loss, _, _ = make_criterion(task, "word_kd", teacher_cache=str(cache), loss_form=form).train()(student, sample)
        found.append((loss.item(), backward(student, loss)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert_same(found[0][1], found[1][1], tolerance=1e-5)


def test_sentence_weights_apply_to_the_cached_teachers_term(task, student, cache, tmp_path):
    sample = batch(task, range(6))
    weight = np.linspace(0, 2, len(task.dataset("train"))).astype(np.float32)
    SequenceWeights(weight, np.zeros(len(weight), bool)).save(tmp_path / "w.npz")
    flags = {"teacher_cache": str(cache), "kd_weight": 1.0}
    loss, _, _ = make_criterion(task, "seq_kd", sequence_weights=str(tmp_path / "w.npz"), **flags).train()(
        student, sample
    )
    each = make_criterion(task, "seq_kd", **flags).train()
    alone = [each(student, batch(task, [i]))[0].item() for i in range(6)]
    assert loss.item() == pytest.approx(np.dot(weight[:6], alone), rel=1e-5)


def test_a_sentence_that_is_not_in_the_cache_has_only_the_labels_term(bitext, task, student, teacher_path, tmp_path):
    """The cache is written with a lower maximum length than the student's, so longer sentences are not in it."""
    flags = ("--max-source-positions", "6", "--max-target-positions", "7")
    cache = write_cache(bitext, teacher_path, tmp_path / "cache", *flags)
    sizes = task.dataset("train").tgt_sizes
    (long, *_), (short, *_) = np.flatnonzero(sizes > 8), np.flatnonzero(sizes < 6)
    for form in FORMS:
        criterion = make_criterion(task, "word_kd", teacher_cache=str(cache), kd_weight=0.25, loss_form=form).train()
        labels = make_criterion(task, "label_smoothed_teacher", label_smoothing=0.0).train()
        loss, _, log = criterion(student, batch(task, [long]))
        assert log["kd_loss"] == 0
        assert loss.item() == pytest.approx(0.75 * labels(student, batch(task, [long]))[0].item(), rel=1e-6)
        assert criterion(student, batch(task, [short, long]))[2]["kd_loss"] > 0
        assert all(gradient.isfinite().all() for gradient in backward(student, loss).values())


def test_no_teacher_is_in_memory_and_validation_has_no_teachers_term(bitext, task, cache):
    criterion = make_criterion(task, "word_kd", teacher_cache=str(cache))
    assert criterion.teacher is None and not list(criterion.parameters())
    model = make_model(task)
    trainer = make_trainer(bitext, task, model, criterion)
    log = trainer.train_step([batch(task, range(8))])
    assert log["kd_loss"] > 0
    criterion.eval()
    assert "kd_loss" not in criterion(model.eval(), batch(task, range(4)))[2]


def test_with_the_teachers_path_the_cache_must_be_of_that_teacher(task, cache, teacher_path, other_teacher_path):
    make_criterion(task, "word_kd", teacher_cache=str(cache), teacher_path=str(teacher_path))
    with pytest.raises(SystemExit, match="does not fit this training:\n  - teacher 1: SHA-256"):
        make_criterion(task, "word_kd", teacher_cache=str(cache), teacher_path=str(other_teacher_path))


def test_teacher_path_none_does_not_open_the_cache(task, student):
    """A student can be validated where neither the teacher nor the cache exists."""
    criterion = make_criterion(task, "word_kd", teacher_cache="gone", teacher_path="none")
    assert "kd_loss" not in criterion.train()(student, batch(task, range(4)))[2]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"kd_temperature": 2.0}, "--kd-temperature: 1.0, in this command 2.0"),
        ({"kd_top_k": K + 1}, rf"--kd-top-k {K + 1}: .* {K}, .*--teacher-cache"),
        ({"kd_ranking": K + 1}, rf"--kd-ranking {K + 1}: .* {K}, .*--teacher-cache"),
        ({"kd_iterations": 2}, "--kd-iterations 2 .*--teacher-cache"),
        ({"kd_rest": "renormalise", "kd_divergence": "reverse_kl"}, "is infinite"),
    ],
)
def test_options_that_do_not_fit_the_cache_are_refused_before_training(task, cache, flags, said):
    with pytest.raises(SystemExit, match=said):
        make_criterion(task, "word_kd", teacher_cache=str(cache), **flags)


def test_a_damaged_cache_is_refused(bitext, task, teacher_path, tmp_path):
    cache = write_cache(bitext, teacher_path, tmp_path / "cache")
    flip(blocks(cache)[1])
    with pytest.raises(SystemExit, match="is damaged"):
        make_criterion(task, "word_kd", teacher_cache=str(cache))


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_that_is_not_in_the_cache_ends_the_training_with_a_message(task, student, cache, form):
    sample = batch(task, range(4))
    sample["id"] += 60
    with pytest.raises(SystemExit, match=r"^--criterion word_kd: error: .* has 60 sentences, .*sentence 63\."):
        make_criterion(task, "word_kd", teacher_cache=str(cache), loss_form=form).train()(student, sample)


def test_a_single_process_has_rank_0_of_1():
    from fairseq_lskd.criterions._distillation import _rank_and_world

    assert _rank_and_world() == (0, 1) and not torch.distributed.is_initialized()


# Sampled caches.


@pytest.fixture(scope="module")
def sampled(bitext, teacher_path, tmp_path_factory):
    out = tmp_path_factory.mktemp("cached") / "sampled"
    return write_cache(bitext, teacher_path, out, "--sampled", "3", "--draws", "2")


def test_both_forms_give_the_same_loss_with_a_sampled_cache(task, student, sampled):
    sample, found = batch(task, range(8)), []
    for form in FORMS:
        settings = {"teacher_cache": str(sampled), "loss_form": form, "ignore_prefix_size": 1, "label_smoothing": 0.1}
        loss, _, log = make_criterion(task, "word_kd", **settings).train()(student, sample)
        found.append((loss.item(), log["kd_loss"].item(), backward(student, loss)))
    assert found[0][:2] == pytest.approx(found[1][:2], rel=1e-5)
    assert_same(found[0][2], found[1][2], tolerance=1e-5)


def test_the_mean_gradient_of_a_sampled_cache_is_that_of_the_whole_teacher(
    bitext, task, student, teacher_path, tmp_path
):
    """Compare the output bias, whose gradient is the sum of p_S - p_T over tokens, up to the sampling error."""
    copies = 200
    cache = write_cache(bitext, teacher_path, tmp_path / "c", "--sampled", "2", "--draws", str(copies))
    student.decoder.output_projection.bias = torch.nn.Parameter(torch.zeros(15))
    sample, bias = batch(task, range(4)), "decoder.output_projection.bias"
    criterion = make_criterion(task, "word_kd", teacher_cache=str(cache), kd_weight=1.0).train()
    found = []
    for criterion.epoch in range(1, copies + 1):
        found.append(backward(student, criterion(student, sample)[0])[bias])
    found = torch.stack(found)
    whole = make_criterion(task, "word_kd", teacher_path=str(teacher_path), kd_weight=1.0).train()
    wanted = backward(student, whole(student, sample)[0])[bias]
    error = found.std(0) / copies**0.5
    assert (error > 0).any()
    assert ((found.mean(0) - wanted).abs() <= 5 * error + 2e-3 * sample["ntokens"]).all()


def test_each_epoch_reads_the_next_copy(bitext, task, sampled):
    criterion = make_criterion(task, "word_kd", teacher_cache=str(sampled)).train()
    trainer = make_trainer(bitext, task, make_model(task), criterion)
    sample, losses = batch(task, range(8)), []
    student = make_model(task).eval()
    for epoch in (1, 2, 3):
        trainer.begin_epoch(epoch)
        assert criterion.epoch == epoch
        losses.append(criterion.train()(student, sample)[0].item())
    assert losses[0] == losses[2] != losses[1]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"kd_divergence": "reverse_kl"}, "--kd-divergence reverse_kl: --teacher-cache .* is a sampled cache"),
        ({"kd_divergence": "skewed_forward_kl"}, "--kd-divergence skewed_forward_kl: "),
        ({"kd_rest": "renormalise"}, "--kd-rest renormalise: "),
        ({"kd_top_k": 2}, "--kd-top-k 2: "),
        ({"kd_ranking": 2}, "--kd-ranking 2: "),
    ],
)
def test_options_that_a_sampled_cache_does_not_support(task, sampled, flags, said):
    with pytest.raises(SystemExit, match=said):
        make_criterion(task, "word_kd", teacher_cache=str(sampled), **flags)
