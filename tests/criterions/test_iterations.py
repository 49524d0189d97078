"""`--kd-iterations`: the student is taught again on its last predictions, as in TIE-KD."""

import pytest
import torch
from reference import Comparison, mean_at_temperature, weighted
from tiny import assert_same, backward, batch, gradients, logits, make_criterion, make_model

from fairseq_lskd.criterions._batch import Batch

pytestmark = pytest.mark.usefixtures("teachers_loaded_once")

TEMPERATURE, SHARE, ALPHA = 2.0, 0.4, 0.1


def fed_back(sample, guess, padding, prefix=0):
    """Replace the labels in the decoder's input by the student's guesses, `[B][T]`, token by token."""
    given = sample["net_input"]["prev_output_tokens"].tolist()
    for row, targets, guesses in zip(given, sample["target"].tolist(), guess, strict=True):
        length = sum(label != padding for label in targets)
        for place in range(prefix, length - 1):
            row[place + 1] = guesses[place]
    return {**sample, "net_input": {**sample["net_input"], "prev_output_tokens": torch.tensor(given)}}


@pytest.fixture
def student(task):
    return make_model(task).eval()


def make_kd(task, teacher_path, **settings):
    settings = {"kd_temperature": TEMPERATURE, "kd_weight": SHARE, "label_smoothing": ALPHA, **settings}
    return make_criterion(task, "word_kd", teacher_path=str(teacher_path), **settings).train()


@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize(("iterations", "prefix"), [(1, 0), (2, 0), (3, 0), (3, 2)])
def test_loss_and_every_gradient_are_the_definition(task, student, teacher_path, form, prefix, iterations):
    """The label's term counts once. In each step teacher and student read the student's last predictions."""
    criterion = make_kd(task, teacher_path, kd_iterations=iterations, ignore_prefix_size=prefix, loss_form=form)
    padding, given = task.target_dictionary.pad(), batch(task, range(6))
    counts = given["target"].ne(padding)
    counts[:, :prefix] = False
    tokens, how = int(counts.sum()), Comparison(temperature=TEMPERATURE)
    student.zero_grad()
    sample, losses, kd, inputs = given, [], [], []
    for step in range(iterations):
        inputs.append(sample["net_input"]["prev_output_tokens"].tolist())
        scores = logits(student, sample)
        with torch.no_grad():
            teacher = logits(criterion.teacher.models[0], sample)[counts]
        found = weighted(
            scores[counts],
            given["target"][counts],
            [0.0 if step else 1 - SHARE] * tokens,
            alpha=ALPHA,
            log_teacher=mean_at_temperature([teacher], TEMPERATURE),
            teacher_weights=[SHARE / iterations] * tokens,
            how=how,
        )
        losses.append(found.loss)
        kd.append(sum(found.kd) / iterations)
        slopes = torch.zeros_like(scores, dtype=torch.float64)
        slopes[counts] = found.gradient
        scores.backward(slopes.to(scores))
        sample = fed_back(given, scores.argmax(-1).tolist(), padding, prefix)
    assert iterations == 1 or inputs[0] != inputs[1]
    assert iterations < 3 or inputs[1] != inputs[2]
    wanted = gradients(student)
    loss, size, log = criterion(student, given)
    assert loss.item() == log["loss"].item() == pytest.approx(sum(losses), rel=1e-5)
    assert log["kd_loss"].item() == pytest.approx(sum(kd), rel=1e-5)
    assert size == given["ntokens"]
    assert_same(backward(student, loss), wanted, tolerance=1e-5)


def test_a_small_example_of_fed_back():
    """Two sentences, with a prefix of one token; 2 is the end of a sentence, 1 is padding."""
    mask = torch.tensor([[False, True, True, True], [False, True, False, False]])
    net_input = {"prev_output_tokens": torch.tensor([[2, 5, 6, 7], [2, 8, 1, 1]]), "src_tokens": None}
    target = torch.tensor([[5, 6, 7, 2], [8, 2, 1, 1]])
    given = Batch(net_input, target, mask, padding=1, prefix=1, ntokens=6, sample_size=6)
    assert given.indices.tolist() == [1, 2, 3, 5]
    found = given.fed_back(torch.tensor([10, 11, 12, 13])).net_input
    # Guesses 10 and 11 replace 6 and 7. The decoder does not read the ends of sentences.
    assert found["prev_output_tokens"].tolist() == [[2, 5, 10, 11], [2, 8, 1, 1]]
    assert net_input["prev_output_tokens"].tolist() == [[2, 5, 6, 7], [2, 8, 1, 1]] and "src_tokens" in found


@pytest.mark.parametrize("form", ["fused", "plain"])
def test_validation_has_one_iteration(task, student, teacher_path, form):
    sample, found = batch(task, range(6)), []
    for iterations in (1, 3):
        criterion = make_kd(task, teacher_path, kd_iterations=iterations, loss_form=form).eval()
        found.append(criterion(student, sample)[0].item())
    assert found[0] == found[1]


@pytest.mark.parametrize("form", ["fused", "plain"])
def test_a_student_that_predicts_the_labels_is_taught_the_same_in_each_iteration(task, student, teacher_path, form):
    """If the predictions are the labels, the decoder reads the same input in each iteration."""
    sample = batch(task, range(3))
    with torch.no_grad():
        # The student predicts token 7 everywhere, and all targets consist of it.
        student.decoder.output_projection.bias = torch.nn.Parameter(torch.eye(15)[7] * 100)
    ends = task.target_dictionary.eos()
    for tokens in (sample["target"], sample["net_input"]["prev_output_tokens"]):
        tokens[tokens.ne(task.target_dictionary.pad()) & tokens.ne(ends)] = 7
    found = [make_kd(task, teacher_path, kd_iterations=n, loss_form=form)(student, sample)[0].item() for n in (1, 2, 4)]
    assert found[1:] == pytest.approx(found[:1] * 2, rel=1e-6)
