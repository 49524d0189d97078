"""`--loss-form fused` and `plain` give the same values, logs and gradients with all other flags."""

import dataclasses

import numpy as np
import pytest
import torch
from cached import write_cache
from reference import Comparison, mean_at_temperature, weighted
from tiny import assert_gradients, assert_same, backward, batch, logits, make_criterion, make_model, save, set_aside

from fairseq_lskd.criterions import _forms
from fairseq_lskd.models import why_not_projected
from fairseq_lskd.sequences import SequenceWeights

pytestmark = pytest.mark.usefixtures("teachers_loaded_once")

#: Options of word_kd and seq_kd.
FLAGS = {
    "default": {},
    "smoothed": {"label_smoothing": 0.2, "smoothing_prior": "unigram", "kd_temperature": 2.0},
    "weights": {"kd_weight": 0.9, "label_smoothing": 0.1},
    "no teacher's term": {"kd_weight": 0.0, "label_smoothing": 0.1},
    "no label's term": {"kd_weight": 1.0, "kd_temperature": 0.5},
    "reverse": {"kd_divergence": "reverse_kl", "kd_temperature": 2.0},
    "beta": {"kd_divergence": "jensen_shannon", "kd_beta": 0.2, "ignore_prefix_size": 1},
    "symmetric": {"kd_divergence": "symmetric_kl", "kd_temperature": 2.0},
    "skewed forward": {"kd_divergence": "skewed_forward_kl", "kd_skew": 0.2},
    "skewed reverse": {"kd_divergence": "skewed_reverse_kl", "kd_skew": 0.2, "kd_top_k": 4},
    "adaptive": {"kd_divergence": "adaptive_kl", "kd_head": 0.7},
    "alpha": {"kd_divergence": "alpha_divergence", "kd_alpha": 0.3, "kd_temperature": 2.0},
    "variation": {"kd_divergence": "total_variation", "kd_top_k": 4},
    "top 1": {"kd_top_k": 1},
    "renormalised": {"kd_top_k": 3, "kd_rest": "renormalise", "kd_temperature": 3.0},
    "all classes": {"kd_top_k": 15, "kd_divergence": "jensen_shannon"},
    "ranking": {"kd_ranking": 3, "kd_temperature": 2.0},
    "top ranking": {"kd_ranking": 2, "kd_top_k": 4, "ignore_prefix_size": 2},
    "iterations": {"kd_iterations": 3, "kd_weight": 0.6, "ignore_prefix_size": 1},
    "batch": {"kd_select": "batch", "kd_select_share": 0.3, "ignore_prefix_size": 1},
    "global": {"kd_select": "global", "kd_select_share": 0.4, "kd_queue_size": 70},
    "by entropy": {
        "kd_select": "batch",
        "kd_select_by": "teacher_entropy",
        "kd_select_side": "low",
        "kd_iterations": 2,
        "kd_temperature": 2.0,
    },
    "by sentence": {"kd_select": "global", "kd_select_by": "sentence_ce", "ignore_prefix_size": 1},
    "everything": {
        "kd_divergence": "jensen_shannon",
        "kd_beta": 0.3,
        "kd_top_k": 5,
        "kd_ranking": 2,
        "kd_iterations": 2,
        "kd_select": "global",
        "kd_queue_size": 100,
        "kd_temperature": 2.0,
        "label_smoothing": 0.1,
        "ignore_prefix_size": 1,
    },
}
BATCHES = (range(6), range(6, 20))
WEIGHTED = ("default", "weights", "beta", "iterations", "batch", "everything")


@pytest.fixture(scope="module")
def weights_path(tmp_path_factory):
    """Sentence weights for seq_kd, some of them 0."""
    path = tmp_path_factory.mktemp("weights") / "w.npz"
    weight = np.where(np.arange(60) % 5 == 3, 0, 0.1 + np.arange(60) / 20).astype(np.float32)
    SequenceWeights(weight, np.zeros(60, bool)).save(path)
    return path


@pytest.fixture(scope="module")
def caches(bitext, teacher_path, tmp_path_factory):
    """A function from a temperature to a cache of the teacher's top 4."""
    found = {}

    def at(temperature):
        if temperature not in found:
            out = tmp_path_factory.mktemp("cache") / "cache"
            found[temperature] = write_cache(bitext, teacher_path, out, "--kd-temperature", str(temperature))
        return str(found[temperature])

    return at


@dataclasses.dataclass
class Seen:
    """The results of a form on several batches."""

    losses: list
    sizes: list
    logs: list
    gradients: list


def run(task, student, name, form, mode="train", **settings):
    """Compute the loss of every batch from the same random state, so that dropout is the same."""
    criterion = make_criterion(task, name, loss_form=form, **settings)
    criterion.train(mode == "train")
    seen = Seen([], [], [], [])
    for ids in BATCHES:
        torch.manual_seed(7)
        loss, size, log = criterion(student, batch(task, ids))
        seen.losses.append(loss.item())
        seen.sizes.append(float(size))
        seen.logs.append({key: float(value) for key, value in log.items()})
        seen.gradients.append(backward(student, loss))
    return seen


def assert_alike(fused, plain):
    assert fused.sizes == plain.sizes
    assert fused.losses == pytest.approx(plain.losses, rel=2e-6, abs=1e-6)
    for mine, theirs in zip(fused.logs, plain.logs, strict=True):
        assert list(mine) == list(theirs)
        assert list(mine.values()) == pytest.approx(list(theirs.values()), rel=1e-5, abs=1e-5)
    for mine, theirs in zip(fused.gradients, plain.gradients, strict=True):
        assert_same(mine, theirs, tolerance=1e-5)


@pytest.mark.parametrize(
    ("name", "flags"), [*(("word_kd", flags) for flags in FLAGS), *(("seq_kd", flags) for flags in WEIGHTED)]
)
def test_both_forms_are_alike(task, teacher_path, other_teacher_path, weights_path, name, flags):
    settings = {"teacher_path": f"{teacher_path}:{other_teacher_path}", **FLAGS[flags]}
    if name == "seq_kd":
        settings["sequence_weights"] = str(weights_path)
    student = make_model(task).train()
    assert_alike(*(run(task, student, name, form, **settings) for form in ("fused", "plain")))


@pytest.mark.parametrize("flags", ["smoothed", "everything"])
@pytest.mark.parametrize("name", ["word_kd", "seq_kd"])
def test_both_forms_are_alike_on_validation(task, teacher_path, weights_path, name, flags):
    """Validation has no iterations, selection or sentence weights, and logs metrics of the predictions."""
    settings = {"teacher_path": str(teacher_path), **FLAGS[flags]}
    if name == "seq_kd":
        settings["sequence_weights"] = str(weights_path)
    student = make_model(task).eval()
    fused, plain = (run(task, student, name, form, mode="eval", **settings) for form in ("fused", "plain"))
    assert_alike(fused, plain)
    assert {"total", "n_correct", "entropy", "gap_0"} <= fused.logs[0].keys()
    for key in ("kd_select", "kd_queue_size", "kd_iterations", "sequence_weights"):
        settings.pop(key, None)
    assert_alike(fused, run(task, student, "word_kd", "fused", mode="eval", **settings))


CACHED = {
    "default": {},
    "top 2": {"kd_top_k": 2, "kd_divergence": "jensen_shannon", "ignore_prefix_size": 1},
    "renormalised": {"kd_rest": "renormalise", "kd_temperature": 2.0},
    "ranking": {"kd_ranking": 3, "kd_divergence": "reverse_kl", "kd_select": "batch"},
}


@pytest.mark.parametrize("flags", CACHED)
@pytest.mark.parametrize("name", ["word_kd", "seq_kd"])
def test_both_forms_are_alike_with_a_cached_teacher(task, caches, weights_path, name, flags):
    settings = {"teacher_cache": caches(CACHED[flags].get("kd_temperature", 1.0)), **CACHED[flags]}
    if name == "seq_kd":
        settings["sequence_weights"] = str(weights_path)
    student = make_model(task).train()
    assert_alike(*(run(task, student, name, form, **settings) for form in ("fused", "plain")))


@pytest.mark.parametrize("flags", ["top 1", "top ranking", "renormalised", "variation"])
def test_a_cached_teacher_equals_the_online_one_with_the_top_k(task, caches, teacher_path, flags):
    """Up to the float16 of the cache."""
    settings = FLAGS[flags]
    cache = caches(settings.get("kd_temperature", 1.0))
    student = make_model(task).eval()
    cached = run(task, student, "word_kd", "auto", teacher_cache=cache, **settings)
    running = run(task, student, "word_kd", "auto", teacher_path=str(teacher_path), **settings)
    assert cached.losses == pytest.approx(running.losses, rel=2e-3)


@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize("flags", ["reverse", "beta", "variation", "renormalised", "top ranking", "adaptive", "alpha"])
def test_loss_and_every_gradient_are_the_formulas(task, teacher_path, other_teacher_path, form, flags):
    """Compare with the formulas, for an ensemble and with padding, as both forms could have the same error."""
    settings = {"kd_weight": 0.4, "label_smoothing": 0.1, **FLAGS[flags]}
    paths = f"{teacher_path}:{other_teacher_path}"
    criterion = make_criterion(task, "word_kd", teacher_path=paths, loss_form=form, **settings).train()
    student, sample = make_model(task).eval(), batch(task, range(5))
    counts = sample["target"].ne(task.target_dictionary.pad())
    counts[:, : settings.get("ignore_prefix_size", 0)] = False
    how = Comparison(
        settings.get("kd_divergence", "forward_kl"),
        next((settings[flag] for flag in ("kd_beta", "kd_skew", "kd_head", "kd_alpha") if flag in settings), 0.5),
        settings.get("kd_temperature", 1.0),
        settings.get("kd_top_k"),
        settings.get("kd_rest", "class"),
        settings.get("kd_ranking", 0),
    )
    with torch.no_grad():
        teachers = [logits(model, sample)[counts] for model in criterion.teacher.models]
    scores, tokens = logits(student, sample), int(counts.sum())
    wanted = weighted(
        scores[counts],
        sample["target"][counts],
        [0.6] * tokens,
        alpha=0.1,
        log_teacher=mean_at_temperature(teachers, how.temperature),
        teacher_weights=[0.4] * tokens,
        how=how,
    )
    loss, size, log = criterion(student, sample)
    assert size == sample["ntokens"] and log["nll_tokens"] == tokens
    assert loss.item() == log["loss"].item() == pytest.approx(wanted.loss, rel=1e-5)
    assert log["kd_loss"].item() == pytest.approx(sum(wanted.kd), rel=1e-5)
    slopes = torch.zeros_like(scores, dtype=torch.float64)
    slopes[counts] = wanted.gradient
    assert_gradients(backward(student, loss), student, scores, slopes)


@pytest.mark.parametrize("flags", ["everything", "batch"])
@pytest.mark.parametrize("form", ["fused", "plain"])
def test_a_batch_of_padding_is_zero_and_differentiable(task, teacher_path, flags, form):
    student = make_model(task)
    criterion = make_criterion(task, "word_kd", teacher_path=str(teacher_path), loss_form=form, **FLAGS[flags])
    loss, _, log = criterion.train()(student, set_aside(batch(task, range(4)), task.target_dictionary.pad()))
    assert loss.item() == log["kd_loss"].item() == 0
    assert not any(gradient.any() for gradient in backward(student, loss).values())


@pytest.mark.parametrize("flags", ["everything", "batch"])
def test_the_unreduced_loss_sums_to_the_reduced_loss(task, teacher_path, flags):
    student, sample = make_model(task).eval(), batch(task, range(6))
    found = []
    for reduce in (True, False):
        criterion = make_criterion(task, "word_kd", teacher_path=str(teacher_path), **FLAGS[flags]).train()
        loss, _, log = criterion(student, sample, reduce=reduce)
        assert loss.dim() == (0 if reduce else 1)
        found.append((loss.sum().item(), log["kd_loss"].item()))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


# The choice of the form.


def forms(monkeypatch):
    """Return a list to which the names of the forms are appended as they are used."""
    used = []
    for form in (_forms.Fused, _forms.Plain):

        def spy(self, *args, form=form, original=form.predict):
            used.append(form.__name__.lower())
            return original(self, *args)

        monkeypatch.setattr(form, "predict", spy)
    return used


@pytest.mark.parametrize(("form", "used"), [("auto", "fused"), ("fused", "fused"), ("plain", "plain")])
def test_the_form_is_that_of_the_option(task, monkeypatch, form, used, caplog):
    found = forms(monkeypatch)
    student, sample = make_model(task), batch(task, range(3))
    criterion = make_criterion(task, "label_smoothed_teacher", loss_form=form)
    criterion(student, sample)
    assert found == [used] and "whole [tokens x vocabulary] tensors" not in caplog.text
    criterion(student, sample, reduce=False)
    assert found == [used, "plain"]


ADAPTIVE = ("--criterion", "cross_entropy", "--adaptive-softmax-cutoff", "8,12")


@pytest.mark.parametrize("name", ["label_smoothed_teacher", "word_kd", "seq_kd"])
def test_fused_needs_a_plain_output_projection(task, teacher_path, name):
    student = make_model(task, *ADAPTIVE)
    teacher = {} if name == "label_smoothed_teacher" else {"teacher_path": str(teacher_path)}
    criterion = make_criterion(task, name, loss_form="fused", **teacher)
    with pytest.raises(SystemExit) as error:
        criterion(student, batch(task, range(3)))
    expected = f"--criterion {name}: error: --loss-form fused: the model has an adaptive softmax. Use --loss-form auto"
    assert error.value.code.startswith(expected)


def test_fused_needs_teachers_with_a_plain_output_projection(bitext, task, tmp_path):
    path = save(tmp_path / "adaptive.pt", bitext, *ADAPTIVE)
    criterion = make_criterion(task, "word_kd", teacher_path=str(path), loss_form="fused")
    with pytest.raises(SystemExit, match="--loss-form fused: the model has an adaptive softmax"):
        criterion(make_model(task), batch(task, range(3)))


def test_models_that_have_no_plain_output_projection(task):
    """The reason names whatever could make logits differ from the projection's."""
    assert why_not_projected(make_model(task)) is None
    assert why_not_projected(make_model(task, "--share-decoder-input-output-embed")) is None
    assert why_not_projected(torch.nn.Linear(2, 2)) == "Linear is not a Transformer"
    model = make_model(task)
    model.decoder.output_projection = torch.nn.Sequential(model.decoder.output_projection)
    assert why_not_projected(model) == "the output projection is a Sequential"


@pytest.mark.parametrize(
    ("part", "method"),
    [
        ("model", "forward"),
        ("model", "get_normalized_probs"),
        ("decoder", "forward"),
        ("decoder", "output_layer"),
        ("decoder", "get_normalized_probs"),
    ],
)
def test_models_with_methods_of_their_own(task, part, method):
    model = make_model(task)
    owner = model if part == "model" else model.decoder
    base = type(owner)
    owner.__class__ = type("Other", (base,), {method: lambda self, *args, **kwargs: None})
    assert why_not_projected(model) == f"Other overrides {method}"


def test_an_unknown_wrapper(task):
    class Wrapper(torch.nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    assert why_not_projected(Wrapper(make_model(task))) == "Wrapper is not a Transformer"
