"""A multilingual teacher reads the sentences of a bilingual student as its own task makes them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from cached import write_cache
from multilingual import BY_TASK, MARKS, MULTI, batch, binarise_pairs, make_model, make_task, save
from tiny import make_criterion

from fairseq_lskd.errors import UserError
from fairseq_lskd.teachers import OnlineTeacher
from fairseq_lskd.teachers.alone import load_teacher
from fairseq_lskd.teachers.checkpoint import read_checkpoint
from fairseq_lskd.teachers.compatibility import check_teacher

FORMS = {
    "source and target": MARKS,
    "target before the source": ["--encoder-langtok", "tgt"],
    "target": ["--decoder-langtok"],
    "in place of end marks": [*MARKS, "--lang-tok-replacing-bos-eos"],
    "of multilingual BART": [*MARKS, "--lang-tok-style", "mbart"],
    "padded on the right": [*MARKS, "--left-pad-source", "False"],
    "none": [],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return binarise_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def path(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("teacher") / "t.pt", data, *MULTI, *MARKS, seed=5)


def bilingual(data: Path, *flags: str) -> Any:
    return make_task(data, *BY_TASK["translation"], *flags)


def of_own_task(data: Path, flags: list[str], task: Any) -> dict[str, Any]:
    """Return the validation batch of de-en from the multilingual task, in the bilingual task's order."""
    own = make_task(data, *MULTI, *flags, "--lang-pairs", "de-en")
    sample = batch(own)
    assert sample["id"].tolist() == batch(task)["id"].tolist()
    return sample["net_input"]


@pytest.mark.parametrize("form", list(FORMS))
def test_the_teachers_input_equals_that_of_its_own_task(data: Path, tmp_path: Path, form: str) -> None:
    flags = FORMS[form]
    # In the bilingual task the flag has no value, and inverts the default.
    task = bilingual(data, "--left-pad-source") if "--left-pad-source" in flags else bilingual(data)
    path = save(tmp_path / "t.pt", data, *MULTI, *flags)
    reading = check_teacher(path, read_checkpoint(path), task)
    assert reading is not None and len(reading.task.target_dictionary) == 28 + ("mbart" in flags)
    assert reading.marks.classes == len(task.target_dictionary) == 25
    found, wanted = reading.marks.read(batch(task)["net_input"]), of_own_task(data, flags, task)
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("form", ["source and target", "in place of end marks", "none"])
def test_distributions_are_normalised_without_language_tokens(data: Path, tmp_path: Path, form: str) -> None:
    """Compare with the definition, computed from a batch of the teacher's own task."""
    flags, task = FORMS[form], bilingual(data)
    path = save(tmp_path / "t.pt", data, *MULTI, *flags, seed=5)
    sample, like = batch(task), torch.zeros(1)
    teacher = OnlineTeacher.from_checkpoints(str(path), task)
    with torch.no_grad():
        (model,) = teacher.models
        probabilities = model(**of_own_task(data, flags, task))[0].double().softmax(-1)
    whole = probabilities[:, probabilities.size(1) - sample["target"].size(1) :, :25]
    wanted = whole / whole.sum(-1, keepdim=True)
    assert wanted.shape == (*sample["target"].shape, 25)
    mask = sample["target"].ne(1)
    found = teacher.log_probs(sample["net_input"], like).exp()
    assert torch.allclose(found[mask].double(), wanted[mask], atol=1e-6)
    for rows in (mask, mask.flatten().nonzero().squeeze(1)):
        (projection,) = teacher.projections(sample["net_input"], like, rows)
        logits = torch.nn.functional.linear(*projection)
        assert torch.allclose(logits.softmax(-1).double(), wanted[mask], atol=1e-6)
    tempered = teacher.log_probs(sample["net_input"], like, 2.0).exp()[mask].double()
    roots = wanted[mask].sqrt()
    assert torch.allclose(tempered, roots / roots.sum(-1, keepdim=True), atol=1e-6)


def test_both_forms_of_the_loss_agree_and_an_ensemble_may_mix_tasks(data: Path, path: Path, tmp_path: Path) -> None:
    task = bilingual(data)
    other = save(tmp_path / "bilingual.pt", data, *BY_TASK["translation"], seed=6)
    student = make_model(task, data, *BY_TASK["translation"], seed=7).eval()
    losses = [
        make_criterion(task, "word_kd", teacher_path=f"{path}:{other}", kd_temperature=2.0, loss_form=form)(
            student, batch(task)
        )[0].item()
        for form in ("fused", "plain")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_cache_of_a_multilingual_teacher_for_a_bilingual_student(data: Path, path: Path, tmp_path: Path) -> None:
    folder = write_cache(data, path, tmp_path / "cache", "-s", "de", "-t", "en", "--top-k", "25")
    task = bilingual(data)
    student = make_model(task, data, *BY_TASK["translation"], seed=7)
    losses = []
    for where in ({"teacher_cache": str(folder)}, {"teacher_path": str(path)}):
        criterion = make_criterion(task, "word_kd", **where)
        losses.append(criterion.train()(student.eval(), batch(task, "train"))[0].item())
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)  # float16 in the cache


def complaint(path: Path, task: Any, teacher_data: str | None = None) -> str:
    with pytest.raises(UserError) as error:
        OnlineTeacher.from_checkpoints(str(path), task, teacher_data)
    return str(error.value)


def test_a_bilingual_student_that_does_not_fit(data: Path, path: Path, tmp_path: Path) -> None:
    said = complaint(path, make_task(data, "--task", "translation", "-s", "en", "-t", "de"))
    assert "not trained on en-de" in said and "de-en, fr-en" in said
    folder = tmp_path / "other"
    folder.mkdir()
    for name in ("dict.de.txt", "dict.en.txt"):
        (folder / name).write_text("".join(reversed((data / name).read_text().splitlines(keepends=True))))
    said = complaint(path, bilingual(data), str(folder))
    assert "at index 4 the teacher has 'END' and the student 'a' (28 and 25 types)" in said
    gone = shutil.copy(path, tmp_path / "alone.pt")
    assert OnlineTeacher.from_checkpoints(str(gone), bilingual(data)).models


def test_sizes_are_compared_if_dictionaries_are_not_found(data: Path, path: Path, tmp_path: Path) -> None:
    state = torch.load(path, weights_only=True)
    state["cfg"]["task"].data = "gone"
    torch.save(state, alone := tmp_path / "t.pt")
    assert OnlineTeacher.from_checkpoints(str(alone), bilingual(data)).models
    state["cfg"]["task"].langs = ["de", "en", "fr", "cs"]
    torch.save(state, alone)
    assert "its source dictionary has 28 types, the student's 29" in complaint(alone, bilingual(data))


def test_load_teacher_for_a_language_pair(data: Path, path: Path) -> None:
    teacher = load_teacher(str(path), None, "fr", "en")
    assert teacher.marks is not None and teacher.max_positions == (1023, 1023)
    assert teacher.marks.symbols(teacher.task) == (("__fr__",), (), ("__en__",))


@pytest.mark.parametrize(
    ("languages", "said"),
    [
        ((None, None), ("--source-lang and --target-lang", "'de-en, fr-en'")),
        (("cs", "en"), ("no language token for 'cs' (--source-lang, --target-lang)", "'de, en, fr'")),
        (("de", "fr"), ("not trained on de-fr", "'de-en, fr-en'")),
    ],
)
def test_load_teacher_names_the_pairs(
    path: Path, languages: tuple[str | None, str | None], said: tuple[str, str]
) -> None:
    with pytest.raises(UserError) as error:
        load_teacher(str(path), None, *languages)
    assert all(fact in str(error.value) for fact in said)


def test_a_language_token_that_its_dictionary_lacks(data: Path, path: Path, tmp_path: Path) -> None:
    """--langtoks may need tokens of another kind than those of --langtoks-specs."""
    state = torch.load(path, weights_only=True)
    state["cfg"]["task"].langtoks = {"main": ("src.mined", "tgt")}
    torch.save(state, broken := tmp_path / "t.pt")
    assert "no language token __de_mined__ in its dictionary" in complaint(broken, bilingual(data))


def test_recorded_files_are_found_beside_the_checkpoint(data: Path, tmp_path: Path) -> None:
    """As in M2M-100: the recorded paths of a common dictionary and a list of languages no longer exist."""
    for name, text in (("model_dict.txt", (data / "dict.de.txt").read_text()), ("langs.txt", "en\nfr\nde\n")):
        (data.parent / name).write_text(text)
    flags = [word for word in MULTI if word not in ("--langs", "de,en,fr")]
    flags += [*MARKS, "--fixed-dictionary", str(data.parent / "model_dict.txt")]
    made = save(tmp_path / "made" / "t.pt", data, *flags, "--lang-dict", str(data.parent / "langs.txt"))
    folder = tmp_path / "there"
    folder.mkdir()
    for file in (made, data.parent / "model_dict.txt", data.parent / "langs.txt"):
        shutil.move(file, folder / file.name)
    teacher = load_teacher(str(folder / "t.pt"), None, "de", "en")
    assert teacher.task.target_dictionary.symbols[-3:] == ["__en__", "__fr__", "__de__"]
    assert teacher.dictionaries == (folder / "model_dict.txt",) * 2 and teacher.more_files == (folder / "langs.txt",)
    assert OnlineTeacher.from_checkpoints(str(folder / "t.pt"), bilingual(data)).models
    (folder / "langs.txt").unlink()
    said = complaint(folder / "t.pt", bilingual(data))
    assert "--lang-dict" in said and "langs.txt" in said and "--teacher-data" in said


def test_pairs_in_a_file_that_no_longer_exists(data: Path, path: Path, tmp_path: Path) -> None:
    """The pairs are unknown then, but the languages are known."""
    state = torch.load(path, weights_only=True)
    state["cfg"]["task"].lang_pairs = "/data/language_pairs.txt"
    torch.save(state, alone := tmp_path / "t.pt")
    assert load_teacher(str(alone), str(data), "de", "en").marks is not None
    with pytest.raises(UserError, match="has no language token for 'cs'"):
        load_teacher(str(alone), str(data), "de", "cs")


@pytest.mark.parametrize(
    ("option", "value"), [("lang_pairs", 5), ("langs", {"a": 1}), ("lang_tok_style", "x"), ("langtoks", "tgt")]
)
def test_language_options_of_a_checkpoint_are_checked(
    data: Path, path: Path, tmp_path: Path, option: str, value: Any
) -> None:
    state = torch.load(path, weights_only=True)
    setattr(state["cfg"]["task"], option, value)
    torch.save(state, broken := tmp_path / "t.pt")
    with pytest.raises(UserError):
        load_teacher(str(broken), str(data), "de", "en")
