"""The criterions with each of fairseq's translation tasks: every cell of the table in docs/tasks.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from cached import write_cache
from fairseq.tasks import TASK_REGISTRY
from fairseq.trainer import Trainer
from multilingual import (
    BY_TASK,
    MODELS,
    MULTI,
    NAT,
    PAIRS,
    batch,
    binarise_pairs,
    configure,
    fairseq_generate,
    fairseq_train,
    fairseq_validate,
    make_model,
    make_task,
    save,
)
from tiny import MODEL, make_criterion

from fairseq_lskd.sequences import SequenceWeights
from fairseq_lskd.teachers.alone import load_teacher
from fairseq_lskd.teachers.checkpoint import read_checkpoint
from fairseq_lskd.teachers.languages import options_of

PAIRED = ["translation_multi_simple_epoch", "multilingual_translation"]
LEFT_TO_RIGHT = [task for task in BY_TASK if task != "translation_lev"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return binarise_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def teachers(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A teacher's checkpoint for each task."""
    folder = tmp_path_factory.mktemp("teachers")
    return {
        task: save(folder / task / "t.pt", data, *flags, model=MODELS.get(task, tuple(MODEL)), seed=5)
        for task, flags in BY_TASK.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("task", LEFT_TO_RIGHT)
def test_every_criterion_trains_validates_and_decodes(data: Path, tmp_path: Path, task: str) -> None:
    flags, model = BY_TASK[task], MODELS.get(task, tuple(MODEL))
    pair = [] if "-s" in flags else ["-s", "de", "-t", "en"]
    SequenceWeights(np.linspace(0, 2, 60, dtype=np.float32), np.zeros(60, bool)).save(tmp_path / "w.npz")
    weights = ["--sequence-weights", str(tmp_path / "w.npz")]
    teacher = str(tmp_path / "label_smoothed_teacher" / "checkpoint_last.pt")
    for criterion, more in (
        ("label_smoothed_teacher", []),
        ("word_kd", ["--teacher-path", teacher]),
        ("seq_kd", []),
        ("seq_kd", ["--teacher-path", teacher, "--kd-weight", "0.3"]),
        *([("seq_kd", weights)] if pair == [] else []),
    ):
        folder = tmp_path / criterion / "-".join(more[::2]) if criterion == "seq_kd" else tmp_path / criterion
        found = fairseq_train(data, folder, *flags, "--criterion", criterion, *more, model=model)
        assert float(found["valid_loss"]) > 0 and ("valid_kd_loss" in found) == ("--teacher-path" in more)
        fairseq_validate(data, folder / "checkpoint_last.pt", *flags)
        assert len(fairseq_generate(data, folder / "checkpoint_last.pt", *flags, *pair)) == 9


@pytest.mark.parametrize("task", list(BY_TASK))
def test_a_student_that_is_its_teacher_has_nothing_to_learn(data: Path, teachers: dict[str, Path], task: str) -> None:
    """For every pair: the teacher reads each sentence as the student does, with the pair's part of the model."""
    flags, path = BY_TASK[task], teachers[task]
    ours = make_task(data, *flags)
    student = make_model(ours, data, *flags, model=MODELS.get(task, tuple(MODEL)), seed=6)
    criterion = make_criterion(ours, "word_kd", teacher_path=str(path), kd_weight=1.0)
    _, size, before = ours.valid_step(batch(ours), student, criterion.eval())
    student.load_state_dict(read_checkpoint(path)["model"])
    _, size, after = ours.valid_step(batch(ours), student, criterion)
    assert before["kd_loss"] / size > 0.05 > 1e-5 > abs(after["kd_loss"] / size)
    if task == "multilingual_translation":
        assert all(abs(after[f"{pair}:kd_loss"]) < 1e-3 < before[f"{pair}:kd_loss"] for pair in PAIRS)


def test_a_teacher_of_the_same_data_fits(data: Path, teachers: dict[str, Path]) -> None:
    """The dictionary's file lacks the language tokens, which the task adds. They do not count as a difference."""
    ours = make_task(data, *BY_TASK["translation_multi_simple_epoch"])
    criterion = make_criterion(ours, "word_kd", teacher_path=str(teachers["translation_multi_simple_epoch"]))
    assert len(criterion.teacher.models) == 1 and len(ours.target_dictionary) == 28


def refused(data: Path, flags: list[str], criterion: str = "word_kd", **settings: object) -> str:
    with pytest.raises(SystemExit) as error:
        make_criterion(make_task(data, *flags), criterion, **settings)
    return str(error.value)


def test_a_teacher_of_several_languages_that_does_not_fit(
    data: Path, teachers: dict[str, Path], tmp_path: Path
) -> None:
    multi = BY_TASK["translation_multi_simple_epoch"]
    path = str(teachers["translation_multi_simple_epoch"])
    other_pair = ["--lang-pairs", "de-en,en-fr"]
    said = refused(data, [*multi, *other_pair], teacher_path=path)
    assert "not trained on en-fr (--lang-pairs)" in said and "de-en, fr-en" in said
    said = refused(data, [*MULTI, "--encoder-langtok", "tgt"], teacher_path=path)
    assert (
        "--encoder-langtok src, the student has tgt" in said and "--decoder-langtok tgt, the student has None" in said
    )
    said = refused(data, [*multi, "--langs", "fr,en,de"], teacher_path=path)
    assert "at index 25 the teacher has '__de__' and the student '__fr__'" in said and "(--langs)" in said
    said = refused(data, [*multi, "--langs", "de,en,fr,cs"], teacher_path=path)
    assert "no more types and the student '__cs__' (28 and 29 types)" in said
    for task in LEFT_TO_RIGHT[2:]:
        assert f"{task!r}, the student's is 'translation_multi" in refused(
            data, multi, teacher_path=str(teachers[task])
        )
    said = refused(data, BY_TASK["multilingual_translation"], teacher_path=path)
    assert "'translation_multi_simple_epoch', the student's is 'multilingual_translation'" in said


@pytest.mark.parametrize(
    ("teacher", "student", "facts"),
    [
        ("multilingual_translation", "translation", ["lskd translate -s de -t en --teacher-path {path}"]),
        (
            "translation_from_pretrained_bart",
            "translation",
            [
                "ct2-fairseq-converter --no_default_special_tokens --source_lang de --target_lang en",
                "--model_path {path}",
                "lskd cache --model DIR",
                "lskd translate -s de -t en --model DIR",
            ],
        ),
        ("translation", "translation_lev", ["needs a teacher of 'translation_lev'", "--task translation for itself"]),
    ],
)
def test_the_way_out_with_a_teacher_of_another_task(
    data: Path, teachers: dict[str, Path], teacher: str, student: str, facts: list[str]
) -> None:
    path = teachers[teacher]
    said = refused(data, BY_TASK[student], teacher_path=str(path))
    assert f"on the task {teacher!r}, the student's is {student!r}" in said
    assert all(fact.format(path=path) in said for fact in facts) and "it translates" not in said
    assert ("is not left-to-right learns at sequence level only" in said) == (student == "translation_lev")


@pytest.mark.parametrize("base", PAIRED)
def test_a_users_subclass_of_a_task_of_several_pairs(
    data: Path, teachers: dict[str, Path], base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is used as the task that it is made of, by a student, and as the teacher of a bilingual student."""
    own = type("Own", (TASK_REGISTRY[base],), {})
    monkeypatch.setitem(TASK_REGISTRY, "own_pairs", own)
    task, path = make_task(data, *BY_TASK[base]), teachers[base]
    for name in ("task", "_name"):
        monkeypatch.setattr(options_of(task), name, "own_pairs", raising=False)
    found = make_criterion(task, "word_kd", teacher_path=f"de-en={teachers['translation']},fr-en=none")
    assert found.pairs == list(PAIRS) and len(found.of_pairs.teachers) == 1
    assert make_criterion(task, "word_kd", teacher_path=str(path)).teacher is not None
    state = torch.load(path, weights_only=False)
    state["cfg"]["task"].task = state["cfg"]["task"]._name = "own_pairs"
    torch.save(state, path.with_name("own.pt"))
    assert load_teacher(str(path.with_name("own.pt")), str(data), "de", "en").pair == "de-en"


@pytest.mark.parametrize("task", PAIRED)
def test_options_for_one_pair_are_refused_with_several_pairs(
    data: Path, teachers: dict[str, Path], tmp_path: Path, task: str
) -> None:
    flags = BY_TASK[task]
    cache = write_cache(data, teachers["translation"], tmp_path / "cache", "-s", "de", "-t", "en")
    assert "--sequence-weights w.npz" in refused(data, flags, "seq_kd", sequence_weights="w.npz")
    said = refused(data, flags, "label_smoothed_teacher", smoothing_prior="unigram", label_smoothing=0.1)
    assert "--smoothing-prior unigram" in said and task in said
    assert task in refused(data, flags, teacher_cache=str(cache))
    assert f"found --task {task}" in refused(data, flags, teacher_path="none", kd_on_policy=0.5)


def test_a_student_that_is_not_left_to_right(data: Path, teachers: dict[str, Path]) -> None:
    flags = BY_TASK["translation_lev"]
    task = make_task(data, *flags)
    student = make_model(task, data, *flags, model=NAT)
    for name in ("label_smoothed_teacher", "seq_kd", "word_kd"):
        settings = {"teacher_path": str(teachers["translation_lev"])} if name == "word_kd" else {}
        criterion = make_criterion(task, name, **settings)
        with pytest.raises(SystemExit, match=r"NATransformerModel is not left-to-right.*--criterion nat_loss"):
            task.valid_step(batch(task), student, criterion)
        # and before training: fairseq's trainer is not created
        with pytest.raises(SystemExit, match="not left-to-right"):
            Trainer(configure(data, *flags, model=NAT), task, student, criterion)


def test_a_teacher_that_is_not_left_to_right(data: Path, tmp_path: Path) -> None:
    flags = BY_TASK["translation_lev"]
    path = save(tmp_path / "nat.pt", data, *flags, model=NAT)
    said = refused(data, flags, teacher_path=str(path))
    assert f"{path} has no distribution over a next token: NATransformerModel" in said


@pytest.mark.slow
def test_a_student_that_is_not_left_to_right_is_trained_with_fairseqs_own_criterion(data: Path, tmp_path: Path) -> None:
    flags = BY_TASK["translation_lev"]
    fairseq_train(data, tmp_path, *flags, "--noise", "full_mask", "--criterion", "nat_loss", model=NAT)
    assert len(fairseq_generate(data, tmp_path / "checkpoint_last.pt", *flags)) == 9


def test_the_task_of_multilingual_bart_starts_at_all(data: Path) -> None:
    """Without the patch `bart-args` it fails at once."""
    task = make_task(data, *BY_TASK["translation_from_pretrained_bart"])
    sample = batch(task)
    assert task.target_dictionary[int(sample["target"][0].max())] == "[en]"
    assert torch.equal(sample["net_input"]["prev_output_tokens"][:, 0], sample["target"].max(1).values)
