"""Faults of other distillation code for fairseq that this package does not have. Each test is named after a fault.

Tests of further faults are in other files:

- log(softmax) is infinite or NaN on a logit gap of 200: `losses/test_divergence.py`, `test_word_kd.py`
- a "KL" that is a cross-entropy, not 0 where student and teacher agree: the same two files
- a batch in which every target is masked has no graph: `test_*_padding_is_zero_and_differentiable`
- gradients scaled twice under accumulation: `test_word_kd.py`
- strategy options are parsed and ignored: `test_every_flag_does_something` in `test_word_kd.py` and `test_seq_kd.py`
"""

import dataclasses
import math
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils, options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics
from fairseq_cli import validate
from tiny import WIDER, batch, binarise, make_criterion, make_model, make_task, make_trainer, save, write
from torch import nn

from fairseq_lskd.criterions._options import SmoothingConfig
from fairseq_lskd.criterions.seq_kd import SeqKDConfig
from fairseq_lskd.criterions.word_kd import WordKDConfig
from fairseq_lskd.sequences import SequenceWeights

from . import test_seq_kd, test_word_kd

ALL = ("label_smoothed_teacher", "word_kd", "seq_kd")


def make(task, name, teacher_path, **settings):
    """Make the criterion, with a teacher if it takes one."""
    teacher = {} if name == "label_smoothed_teacher" else {"teacher_path": str(teacher_path)}
    return make_criterion(task, name, **teacher, **settings)


def validated(task, model, criterion, ids):
    """Return what fairseq logs in a validation."""
    with metrics.aggregate(new_root=True) as found:
        for step in ids:
            log = task.valid_step(batch(task, step, "valid"), model, criterion.eval())[2]
            task.reduce_metrics([log], criterion)
    return found.get_smoothed_values()


# songmzhang/NMT-KD


@pytest.mark.parametrize("name", ALL)
def test_accuracy_raises(task, teacher_path, name):
    model, batches = make_model(task), [[0, 1, 2], [3, 4]]
    found = validated(task, model, make(task, name, teacher_path), batches)
    right, entropies = [], []
    for sample in (batch(task, ids, "valid") for ids in batches):
        with torch.no_grad():
            log_probs = model.eval().get_normalized_probs(model(**sample["net_input"]), log_probs=True).double()
        real = sample["target"] != task.target_dictionary.pad()
        right += (log_probs.argmax(-1) == sample["target"])[real].tolist()
        entropies += -(log_probs.exp() * log_probs).sum(-1)[real] / math.log(2)
    assert found["accuracy"] == pytest.approx(100 * sum(right) / len(right), abs=1e-3)
    assert found["entropy"] == pytest.approx(sum(entropies).item() / len(right), abs=1e-3)


class Distributed(nn.Module):
    """A wrapper like DistributedDataParallel, which synchronises gradients only of calls through `forward`."""

    def __init__(self, module):
        super().__init__()
        self.module, self.calls, self.inside = module, 0, False

    def forward(self, *args, **kwargs):
        self.calls, self.inside = self.calls + 1, True
        try:
            return self.module(*args, **kwargs)
        finally:
            self.inside = False

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


@pytest.mark.parametrize("name", ALL)
def test_encoder_and_decoder_are_called_directly_so_that_only_legacy_ddp_works(task, teacher_path, name):
    """An unknown wrapper gets the plain form; e2e/test_two_workers.py tests the known ones with the fused form."""
    criterion, sample, student = make(task, name, teacher_path), batch(task, range(4)), make_model(task).eval()
    wrapped = Distributed(student)

    def called(part, args):
        assert wrapped.inside, "called past the wrapper"

    student.encoder.register_forward_pre_hook(called)
    student.decoder.register_forward_pre_hook(called)
    found = criterion(wrapped, sample)[0]
    assert wrapped.calls == 1
    wrapped.inside = True
    torch.testing.assert_close(found, criterion(student, sample)[0])


def test_teacher_shape_is_guessed_from_the_name_of_its_file(task, teacher_path, other_teacher_path, tmp_path):
    for number, (path, size) in enumerate([(teacher_path, 24), (other_teacher_path, 16)]):
        renamed = tmp_path / f"transformer_big_{number}.bin"
        shutil.copy(path, renamed)
        criterion = make_criterion(task, "word_kd", teacher_path=str(renamed))
        assert criterion.teacher.models[0].decoder.embed_dim == size


@pytest.fixture
def distilled(bitext, tmp_path):
    """The checkpoint of a student after one update, whose teacher's file was deleted afterwards."""
    teacher = save(tmp_path / "teacher.pt", bitext, *WIDER)
    flags = ["--criterion", "word_kd", "--teacher-path", str(teacher)]
    task = make_task(bitext)
    student, criterion = make_model(task), make_criterion(task, "word_kd", teacher_path=str(teacher))
    trainer = make_trainer(bitext, task, student, criterion, *flags)
    trainer.train_step([batch(task, range(12))])
    path = write(tmp_path / "student.pt", trainer)
    teacher.unlink()
    return path


@pytest.mark.e2e
def test_student_cannot_be_decoded_without_the_file_of_the_teacher(bitext, distilled, tmp_path):
    """The plug-in's --user-dir is not needed either."""
    script = Path(sysconfig.get_path("scripts"), "fairseq-generate")
    start = [str(script)] if script.exists() else [sys.executable, "-m", "fairseq_cli.generate"]
    words = [bitext, "--path", distilled, "--gen-subset", "valid", "--beam", 1, "--max-len-b", 5, "--cpu"]
    done = subprocess.run([*start, *map(str, words)], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    assert sum(line.startswith("H-") for line in done.stdout.splitlines()) == 9


def test_student_checkpoint_holds_nothing_of_the_teacher(distilled, task):
    (student,), _, _ = checkpoint_utils.load_model_ensemble_and_task([str(distilled)])
    assert student.state_dict().keys() == make_model(task).state_dict().keys()


# VarunGumma/fairseq


@pytest.mark.parametrize("name", ALL)
def test_perplexity_is_1_for_ever(task, teacher_path, name):
    """Perplexity is the student's 2^nll over every token of the mask, in validation and in training."""
    student, ids = make_model(task), [[0, 1, 2], [3, 4]]
    criterion = make(task, name, teacher_path)
    found = validated(task, student, criterion, ids)
    plain = make_criterion(task, "cross_entropy").eval()
    nll = sum(plain(student.eval(), batch(task, step, "valid"))[0].item() for step in ids)
    tokens = sum(batch(task, step, "valid")["ntokens"] for step in ids)
    assert found["ppl"] == pytest.approx(math.exp(nll / tokens), abs=6e-3) and found["ppl"] > 2
    with metrics.aggregate(new_root=True) as training:
        criterion.reduce_metrics([criterion.train()(student, batch(task, range(5)))[2]])
    assert training.get_smoothed_values()["ppl"] > 2


def test_options_are_parsed_and_ignored():
    """Every option has a test: `test_every_flag_does_something`, or one of its own."""
    own = {"sentence_avg", "teacher_path", "teacher_data", "teacher_cache", "sequence_weights", "loss_form"}
    own |= {"kd_queue_size", "kd_on_policy", "kd_on_policy_temperature"}
    own |= {
        "kd_hidden",
        "kd_hidden_weight",
        "teacher_weights",
        "kd_schedule",
        "kd_schedule_updates",
        "kd_weight_end",
        "kd_temperature_end",
        "teacher_dtype",
        "teacher_process",
        "teacher_ahead",
        "kd_threshold",
    }
    for config, tested in ((WordKDConfig, test_word_kd.CHANGES), (SeqKDConfig, test_seq_kd.CHANGES)):
        names = {entry.name for entry in dataclasses.fields(config)} - {"_name"}
        assert names - own == tested.keys()
    shared = {entry.name for entry in dataclasses.fields(SmoothingConfig)} - {"_name"}
    assert shared - own <= test_word_kd.CHANGES.keys()  # the base class of all three criterions reads them


def run_validate(bitext, path, *flags):
    """Run `fairseq-validate` in this process."""
    words = [str(bitext), "--path", str(path), "--valid-subset", "valid", "--max-tokens", "200", "--cpu"]
    words += ["--task", "translation", "--num-workers", "0", *flags]
    args, given = (
        options.parse_args_and_arch(options.get_validation_parser(), words, suppress_defaults=quiet)
        for quiet in (False, True)
    )
    validate.main(convert_namespace_to_omegaconf(args), override_args=given)


def test_fairseq_validate_raises(bitext, teacher_path, tmp_path):
    task = make_task(bitext)
    flags = ["--criterion", "word_kd", "--teacher-path", str(teacher_path)]
    criterion = make_criterion(task, "word_kd", teacher_path=str(teacher_path))
    path = write(tmp_path / "student.pt", make_trainer(bitext, task, make_model(task), criterion, *flags))
    run_validate(bitext, path)


def test_fairseq_validate_needs_the_teacher(bitext, distilled):
    with pytest.raises(SystemExit, match="no checkpoint at"):
        run_validate(bitext, distilled)
    run_validate(bitext, distilled, "--model-overrides", "{'teacher_path': 'none'}")


# LeslieOverfitting/selective_distillation


def test_issue_1_validation_scores_the_teacher(bitext, teacher_path, other_teacher_path):
    """BLEU and the loss that selects checkpoint_best.pt are computed with the student."""
    flags = ["--eval-bleu", "--eval-bleu-detok", "space", "--eval-bleu-args", '{"beam": 1, "max_len_b": 9}']
    task = make_task(bitext, *flags)
    student = make_model(task, *flags)
    alone = validated(task, student, make_criterion(task, "word_kd", teacher_path="none"), [[0, 1, 2], [3, 4]])
    criterion = make_criterion(task, "word_kd", teacher_path=f"{teacher_path}:{other_teacher_path}")
    assert list(task.sequence_generator.model.models) == [student]
    beside = validated(task, student, criterion, [[0, 1, 2], [3, 4]])
    for name in ("bleu", "nll_loss", "ppl", "accuracy", "entropy", "ece"):
        assert beside[name] == alone[name]
    assert beside["loss"] != alone["loss"] and "kd_loss" in beside


def test_default_strategy_silently_turns_distillation_off(task, teacher_path):
    student, sample = make_model(task).eval(), batch(task, range(6))
    loss, _, log = make_criterion(task, "word_kd", teacher_path=str(teacher_path))(student, sample)
    plain = make_criterion(task, "cross_entropy")(student, sample)[0]
    assert log["kd_loss"] > 1 and log["nll_loss"].item() == pytest.approx(plain.item(), rel=1e-6)
    assert loss.item() == pytest.approx((plain + log["kd_loss"]).item() / 2, rel=1e-6)
    assert abs(loss.item() - plain.item()) > 0.1


def test_temperature_is_the_teachers_only(task, other_teacher_path):
    """Both distributions are at T, so the loss of a student that is its teacher is 0 at any T."""
    for temperature in (0.5, 1.0, 5.0):
        settings = {"teacher_path": str(other_teacher_path), "kd_weight": 1.0, "kd_temperature": temperature}
        criterion = make_criterion(task, "word_kd", **settings)
        assert abs(criterion(criterion.teacher.models[0], batch(task, range(4)))[0].item()) < 1e-4


# RayeRen/multilingual-kd-pytorch


def test_one_over_length_sentence_aborts(bitext, task, tmp_path):
    """A teacher with a lower maximum length than the task is refused at the start; the message names the options."""
    short = save(tmp_path / "short.pt", bitext, "--max-source-positions", "20", "--max-target-positions", "30")
    with pytest.raises(SystemExit) as error:
        make_criterion(task, "word_kd", teacher_path=str(short))
    assert "--max-source-positions 20" in error.value.code and "--max-target-positions 30" in error.value.code
    fitting = make_task(bitext, "--max-source-positions", "20", "--max-target-positions", "30")
    assert make_criterion(fitting, "word_kd", teacher_path=str(short)).teacher is not None


# torchtune, Liger


@pytest.fixture(scope="module")
def smaller(tmp_path_factory):
    """The same text, without the rarest types in the target dictionary."""
    return binarise(tmp_path_factory.mktemp("smaller"), "--nwordstgt", "10")


@pytest.mark.parametrize("student_is_smaller", [True, False])
def test_vocabulary_mismatch_crashes_or_is_padded_with_phantom_mass(bitext, smaller, tmp_path, student_is_smaller):
    """meta-pytorch/torchtune#2119, and Liger's padding of the smaller vocabulary with zero logits: refused."""
    of_teacher, of_student = (bitext, smaller) if student_is_smaller else (smaller, bitext)
    path = save(tmp_path / "teacher.pt", of_teacher)
    with pytest.raises(SystemExit, match="teacher and student need identical dictionaries") as error:
        make_criterion(make_task(of_student), "word_kd", teacher_path=str(path))
    assert "lskd cache DATA --teacher-text TEACHER_DATA" in error.value.code
    assert "its target dictionary has" in error.value.code and "its source dictionary" not in error.value.code


# fairseq


def test_sentence_weights_survive_shuffling(task, tmp_path):
    """A weight belongs to a sentence, whatever its batch and row."""
    path = tmp_path / "w.npz"
    SequenceWeights(np.eye(1, 60, 17, dtype=np.float32)[0], np.zeros(60, bool)).save(path)
    criterion = make_criterion(task, "seq_kd", sequence_weights=str(path)).train()
    student, plain = make_model(task).eval(), make_criterion(task, "cross_entropy")
    wanted = plain(student, batch(task, [17]))[0].item()
    for ids in ([17, 1, 2], [40, 17], [3, 4, 5, 17]):
        assert criterion(student, batch(task, ids))[0].item() == pytest.approx(wanted, rel=1e-5)
