"""A teacher that does not fit the student's task is refused with one message that names every problem."""

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from tiny import MODEL, batch, binarise, configure, make_criterion, make_model, make_task, save

from fairseq_lskd.errors import UserError
from fairseq_lskd.teachers import OnlineTeacher
from fairseq_lskd.teachers.checkpoint import read_checkpoint
from fairseq_lskd.teachers.compatibility import check_teacher, first_difference, languages_of


def complaint(path, task, state=None, **settings):
    with pytest.raises(UserError) as error:
        check_teacher(path, read_checkpoint(path) if state is None else state, task, **settings)
    return str(error.value)


def swapped(bitext, folder, language="en"):
    """Copy the dictionaries, with the types at indices 6 and 7 of one of them swapped."""
    folder.mkdir()
    for file in bitext.glob("dict.*.txt"):
        lines = file.read_text().splitlines(keepends=True)
        if file.name == f"dict.{language}.txt":
            # The file does not have the first four types: <s>, <pad>, </s> and <unk>.
            lines[2], lines[3] = lines[3], lines[2]
        (folder / file.name).write_text("".join(lines))
    return folder


@pytest.fixture
def away(bitext, tmp_path):
    """A teacher's checkpoint that records a data folder that no longer exists."""
    folder = tmp_path / "away"
    shutil.copytree(bitext, folder)
    path = save(tmp_path / "run" / "checkpoint_best.pt", folder)
    shutil.rmtree(folder)
    return path


def test_a_teacher_that_fits_gives_no_warning(task, teacher_path, caplog):
    with caplog.at_level(logging.WARNING):
        check_teacher(teacher_path, read_checkpoint(teacher_path), task)
    assert not caplog.records


def test_a_teacher_of_another_task_is_refused(task, teacher_path):
    state = read_checkpoint(teacher_path)
    state["cfg"]["task"]["_name"] = "multilingual_translation"
    said = complaint(teacher_path, task, state)
    assert "trained on the task 'multilingual_translation', the student's is 'translation'" in said


def test_other_languages(task, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    path = save(folder / "t.pt", binarise(folder, languages=("fr", "en")), "-s", "fr")
    said = complaint(path, task)
    assert "it translates fr -> en, the student de -> en (--source-lang, --target-lang)" in said


def test_the_other_direction(bitext, task, tmp_path):
    path = save(tmp_path / "t.pt", bitext, "-s", "en", "-t", "de")
    assert "it translates en -> de, the student de -> en" in complaint(path, task)


@pytest.mark.parametrize(("language", "side"), [("de", "source"), ("en", "target")])
def test_two_types_swapped_in_a_dictionary_of_the_same_size(bitext, task, away, tmp_path, language, side):
    folder = swapped(bitext, tmp_path / "dictionaries", language)
    ours = task.source_dictionary if side == "source" else task.target_dictionary
    said = complaint(away, task, teacher_data=str(folder))
    assert f"at index 6 the teacher has {ours[7]!r} and the student {ours[6]!r} ({len(ours)} and {len(ours)}" in said
    assert f"its {side} dictionary {folder}/dict.{language}.txt differs" in said
    assert "(lskd encode --spm-model; fairseq-preprocess --srcdict, --tgtdict)" in said and said.count("  - ") == 2


def test_dictionaries_are_looked_for_in_the_recorded_folder(bitext, task, away, tmp_path):
    state = read_checkpoint(away)
    state["cfg"]["task"]["data"] = f"{swapped(bitext, tmp_path / 'recorded')}:elsewhere"
    assert f"{tmp_path}/recorded/dict.en.txt differs" in complaint(away, task, state)
    check_teacher(away, state, task, str(bitext))


def test_dictionaries_are_looked_for_beside_the_checkpoint_first(bitext, task, teacher_path, tmp_path):
    """The recorded folder, here the student's, may have been binarised again since."""
    away = shutil.copy(teacher_path, tmp_path / "teacher.pt")
    check_teacher(away, read_checkpoint(away), task)
    for file in swapped(bitext, tmp_path / "x").glob("dict.*.txt"):
        shutil.copy(file, tmp_path)
    assert f"{tmp_path}/dict.en.txt differs" in complaint(away, task)


def test_a_warning_if_only_sizes_could_be_compared(task, away, caplog):
    with caplog.at_level(logging.WARNING):
        check_teacher(away, read_checkpoint(away), task)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("fairseq_lskd")]
    assert len(said) == 2 and "the source dictionary" in said[0] and "the target dictionary" in said[1]
    assert all("only its size was compared" in line and "--teacher-data" in line for line in said)


def test_sizes_differ_without_dictionaries(task, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    data = binarise(folder, "--nwordstgt", "10")
    path = save(tmp_path / "run" / "t.pt", data)
    shutil.rmtree(data)
    said = complaint(path, task)
    assert "its target dictionary has 10 types, the student's 15" in said and "source dictionary has" not in said


def test_teacher_data_without_dictionaries(task, teacher_path, tmp_path):
    said = complaint(teacher_path, task, teacher_data=str(tmp_path))
    assert said.startswith(f"--teacher-data {tmp_path}: expected the teacher's dictionary at {tmp_path}/dict.de.txt")


def test_lengths(bitext, task, tmp_path):
    path = save(tmp_path / "t.pt", bitext, "--max-source-positions", "12", "--max-target-positions", "13")
    said = complaint(path, task)
    assert "limit is 12 source tokens: pass --max-source-positions 12" in said
    assert "limit is 13 target tokens: pass --max-target-positions 13" in said
    fits = make_task(bitext, "--max-source-positions", "12", "--max-target-positions", "13")
    check_teacher(path, read_checkpoint(path), fits)


def test_one_message_names_all_problems(bitext, task, tmp_path):
    path = save(tmp_path / "t.pt", bitext, "--max-source-positions", "12")
    state = read_checkpoint(path)
    state["cfg"]["task"]["source_lang"], state["cfg"]["task"]["_name"] = "fr", "translation_lev"
    said = complaint(path, task, state)
    assert said.splitlines()[0] == f"the teacher {path} does not fit:" and said.count("\n  - ") == 3
    assert all(problem in said for problem in ("translation_lev", "fr -> en", "limit is 12"))


def test_one_message_names_all_dictionary_problems(bitext, task, away, tmp_path):
    folder = swapped(bitext, tmp_path / "one", "en")
    shutil.copy(swapped(bitext, tmp_path / "two", "de") / "dict.de.txt", folder)
    said = complaint(away, task, teacher_data=str(folder))
    assert "its source dictionary" in said and "its target dictionary" in said


def test_first_difference():
    def dictionary(*words):
        made = Dictionary()
        for word in words:
            made.add_symbol(word)
        return made

    assert first_difference(dictionary("a", "b"), dictionary("a", "b")) is None
    assert first_difference(dictionary("a", "b"), dictionary("b", "a")) == (
        "at index 4 the teacher has 'a' and the student 'b' (6 and 6 types)"
    )
    assert first_difference(dictionary("a"), dictionary("a", "b")) == (
        "at index 5 the teacher has no more types and the student 'b' (5 and 6 types)"
    )


def test_the_problem_of_the_second_of_an_ensemble_is_found(task, teacher_path, away, bitext, tmp_path):
    for file in swapped(bitext, tmp_path / "x").glob("dict.*.txt"):
        shutil.copy(file, away.parent)
    with pytest.raises(UserError, match=f"the teacher {away} does not fit"):
        OnlineTeacher.from_checkpoints(f"{teacher_path}:{away}", task)


def test_a_criterion_exits_with_the_message(bitext, task, away, tmp_path):
    folder = swapped(bitext, tmp_path / "dictionaries")
    with pytest.raises(SystemExit, match=r"--criterion word_kd: error: the teacher .* does not fit"):
        make_criterion(task, "word_kd", teacher_path=str(away), teacher_data=str(folder))


def altered(path, out, change):
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, out)
    return str(out)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["model"].pop("decoder.output_projection.weight"),
        lambda state: state["model"].update({"decoder.more": torch.ones(1)}),
        lambda state: setattr(state["cfg"]["model"], "decoder_layers", 1),
        lambda state: setattr(state["cfg"]["model"], "decoder_ffn_embed_dim", 7),
        lambda state: setattr(state["cfg"]["model"], "share_all_embeddings", True),
    ],
    ids=["a weight less", "a weight more", "fewer layers", "another shape", "unshareable"],
)
def test_weights_that_do_not_fit_their_own_options(task, teacher_path, tmp_path, change):
    path = altered(teacher_path, tmp_path / "t.pt", change)
    with pytest.raises(UserError, match=f"the teacher {path} cannot be built from its options"):
        OnlineTeacher.from_checkpoints(path, task)


def test_teacher_equals_the_model_that_fairseq_loads(task, teacher_path):
    (model,), _, _ = checkpoint_utils.load_model_ensemble_and_task([str(teacher_path)], task=task)
    sample = batch(task, range(5))
    teacher = OnlineTeacher.from_checkpoints(str(teacher_path), task)
    found = teacher.log_probs(sample["net_input"], torch.zeros(1))
    with torch.no_grad():
        wanted = model.eval().get_normalized_probs(model(**sample["net_input"]), log_probs=True)
    assert torch.equal(found, wanted) and found.dtype == torch.float32


def test_options_of_the_student_are_not_changed(bitext, task, teacher_path):
    before = str(configure(bitext)) + str(task.cfg)
    OnlineTeacher.from_checkpoints(str(teacher_path), task)
    assert str(configure(bitext)) + str(task.cfg) == before
    assert make_model(task).decoder.embed_dim == int(MODEL[MODEL.index("--decoder-embed-dim") + 1])


def without_languages(path: Path, out: Path, data: str) -> Path:
    """Copy a checkpoint without languages, as fairseq writes it without -s and -t."""
    state = torch.load(path, weights_only=True)
    state["cfg"]["task"].update(source_lang=None, target_lang=None, data=data)
    torch.save(state, out)
    return out


def test_languages_that_the_checkpoint_does_not_record(bitext, task, teacher_path, tmp_path):
    """They are inferred from the data, as in fairseq, or else are assumed to be the student's."""
    for data in (str(bitext), "gone", ""):
        path = without_languages(teacher_path, tmp_path / "t.pt", data)
        check_teacher(path, read_checkpoint(path), task, str(bitext))
        assert OnlineTeacher.from_checkpoints(str(path), task, str(bitext)).models
    other = binarise(tmp_path, languages=("fr", "en"))
    path = without_languages(teacher_path, tmp_path / "t.pt", str(other))
    assert "it translates fr -> en, the student de -> en" in complaint(path, task)
    swapped(bitext, tmp_path / "x")
    for file in (tmp_path / "x").glob("dict.*.txt"):
        shutil.copy(file, tmp_path)
    path = without_languages(teacher_path, tmp_path / "t.pt", "gone")
    assert f"{tmp_path}/dict.en.txt differs" in complaint(path, task)


def test_a_checkpoints_languages_must_be_plain_names():
    with pytest.raises(UserError, match=r"'\.\./x': expected a plain name"):
        languages_of(SimpleNamespace(source_lang="../x", target_lang="en", data=None))
