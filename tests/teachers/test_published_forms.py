"""Checkpoints of the form of M2M-100 and NLLB-200, with the options and dictionaries of the published ones."""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from multilingual import BY_TASK, MARKS, MULTI, PAIRS, batch, binarise_pairs, make_model, make_task, save
from tiny import MODEL, make_criterion

from fairseq_lskd.errors import UserError
from fairseq_lskd.teachers import OnlineTeacher
from fairseq_lskd.teachers.alone import load_teacher
from fairseq_lskd.teachers.checkpoint import read_checkpoint

#: More languages than the data has, as in M2M-100. Their tokens are in the dictionary's file, before its last types.
LANGUAGES = ["af", "de", "en", "es", "fr", "nl", "zh"]
M2M = ["--task", "translation_multi_simple_epoch", *MARKS, "--lang-tok-style", "multilingual"]
TIED = (*MODEL, "--share-all-embeddings")
#: How training with this package binarises: language tokens are not in the file. NLLB's dictionary has this form.
LISTED = [*MULTI, *MARKS]


def add_types(data: Path, types: list[str]) -> None:
    for language in ("de", "en", "fr"):
        with (data / f"dict.{language}.txt").open("a") as file:
            file.write("".join(f"{each} 1\n" for each in types))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data binarised with M2M-100's form of dictionary."""
    data = binarise_pairs(tmp_path_factory.mktemp("pairs"))
    add_types(data, [*(f"__{each}__" for each in LANGUAGES), *(f"madeupword{i:04}" for i in range(8))])
    shutil.copy(data / "dict.de.txt", data.parent / "model_dict.128k.txt")
    return data


@pytest.fixture(scope="module")
def m2m(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with options in the old form, "args", float16 weights, no optimizer, and paths that are gone."""
    listed = ",".join(f"{a}-{b}" for a in LANGUAGES for b in LANGUAGES if a != b)
    flags = [*M2M, "--lang-pairs", ",".join(PAIRS), "--langs", ",".join(LANGUAGES)]
    flags += ["--fixed-dictionary", str(data.parent / "model_dict.128k.txt")]
    path = save(data.parent / "made.pt", data, *flags, model=TIED, seed=5)
    state = torch.load(path, weights_only=False)
    options = {**vars(state["cfg"]["task"]), **vars(state["cfg"]["model"])}
    options |= {
        "lang_pairs": listed,
        "lang_dict": "/gone/language_dict.txt",
        "langs": None,
        "data": "/gone/1:/gone/2",
    }
    options |= {"fixed_dictionary": "/gone/model_dict.128k.txt", "langtoks": {"main": ("src", "tgt")}}
    state |= {"args": Namespace(**options), "cfg": None, "last_optimizer_state": None}
    state["model"] = {name: weight.half() for name, weight in state["model"].items()}
    folder = tmp_path_factory.mktemp("m2m")
    torch.save(state, folder / "418M_last_checkpoint.pt")
    shutil.copy(data.parent / "model_dict.128k.txt", folder)
    return folder / "418M_last_checkpoint.pt"


def translation(data: Path, pair: str = "de-en") -> Any:
    return make_task(data, "--task", "translation", "-s", pair[:2], "-t", pair[3:])


class TestM2M100:
    def test_is_loaded_with_its_dictionary_alone(self, m2m: Path) -> None:
        teacher = load_teacher(str(m2m), None, "de", "en")
        assert len(teacher.task.target_dictionary) == 25 + len(LANGUAGES) + 8
        assert teacher.affixes == (("__de__",), (), ("__en__",)) and teacher.pair == "de-en"
        assert load_teacher(str(m2m), None, "zh", "af").pair == "zh-af"
        with pytest.raises(UserError, match=r"no language token for 'cs' .*'af, de, en"):
            load_teacher(str(m2m), None, "de", "cs")

    def test_needs_the_list_of_languages_if_its_dictionary_has_no_tokens(self, m2m: Path, tmp_path: Path) -> None:
        shutil.copy(m2m, tmp_path)
        lines = (m2m.parent / "model_dict.128k.txt").read_text().splitlines(keepends=True)
        (tmp_path / "model_dict.128k.txt").write_text("".join(line for line in lines if "__" not in line))
        with pytest.raises(UserError, match=r"--lang-dict .*language_dict\.txt"):
            load_teacher(str(tmp_path / m2m.name), None, "de", "en")

    def test_teaches_a_bilingual_student(self, data: Path, m2m: Path) -> None:
        """In float32, with the distribution of its own task at each of the student's tokens."""
        task = translation(data)
        teacher = OnlineTeacher.from_checkpoints(str(m2m), task)
        own = make_task(data, *M2M, "--lang-pairs", "de-en", "--langs", ",".join(LANGUAGES))
        model = make_model(own, data, *M2M, "--lang-pairs", "de-en", "--langs", ",".join(LANGUAGES), model=TIED)
        model.load_state_dict({name: each.float() for name, each in read_checkpoint(m2m)["model"].items()})
        sample, theirs = batch(task), batch(own)
        assert sample["id"].tolist() == theirs["id"].tolist()
        with torch.no_grad():
            wanted = model.eval()(**theirs["net_input"])[0].softmax(-1)[:, 1:]
        there = sample["target"].ne(1)
        found = teacher.log_probs(sample["net_input"], torch.zeros(1)).exp()
        assert found.shape == wanted.shape and torch.allclose(found[there], wanted[there], atol=1e-5)

    def test_teaches_a_multilingual_student(self, data: Path, m2m: Path) -> None:
        """Of the same vocabulary: under its own task, as the teacher of pairs, and beside a bilingual one."""
        flags = [*M2M, "--lang-pairs", ",".join(PAIRS), "--langs", ",".join(LANGUAGES)]
        task = make_task(data, *flags)
        bilingual = save(m2m.parent / "de.pt", data, *BY_TASK["translation"], seed=6)
        losses = []
        for path in (str(m2m), f"de-en={m2m},fr-en={m2m}", f"de-en={bilingual},fr-en={m2m}"):
            criterion = make_criterion(task, "word_kd", teacher_path=path, kd_weight=1.0)
            student = make_model(task, data, *flags, seed=7).eval()
            losses.append(criterion.train()(student, batch(task))[0].item())
        assert len(set(losses)) == 3 and all(loss > 0 for loss in losses)


@pytest.mark.parametrize("tokens", ["at the end", "before other types"])
def test_a_student_whose_dictionary_file_has_the_tokens(tmp_path: Path, tokens: str) -> None:
    """A bilingual teacher has the whole file, so it must not be taken for a dictionary without language tokens."""
    data = binarise_pairs(tmp_path)
    add_types(data, ["__de__", "__en__", "__fr__", *(["madeupword0000"] if tokens == "before other types" else [])])
    task = make_task(data, *LISTED)
    teachers = [
        save(tmp_path / f"{pair}.pt", data, "--task", "translation", "-s", pair[:2], "-t", "en") for pair in PAIRS
    ]
    path = ",".join(f"{pair}={each}" for pair, each in zip(PAIRS, teachers, strict=True))
    criterion = make_criterion(task, "word_kd", teacher_path=path)
    student = make_model(task, data, *LISTED, seed=7).eval()
    assert criterion.train()(student, batch(task))[0].item() > 0


def test_nllb_has_tokens_for_the_origin_of_data(tmp_path: Path) -> None:
    """Three types after the language tokens, which fairseq 0.12.2 does not add. They change no probability."""
    data = binarise_pairs(tmp_path)
    path = save(tmp_path / "t" / "t.pt", data, *LISTED, model=TIED, seed=5)
    state = torch.load(path, weights_only=False)
    state["cfg"]["task"].add_data_source_prefix_tags = True
    # A strong negative logit: the published model never writes these tokens.
    for name in [name for name in state["model"] if name.endswith(("embed_tokens.weight", "output_projection.weight"))]:
        weight = state["model"][name]
        state["model"][name] = torch.cat([weight, weight[-3:]])
    torch.save(state, nllb := tmp_path / "nllb.pt")
    task = translation(data)
    sample = batch(task)["net_input"]
    found, wanted = (
        OnlineTeacher.from_checkpoints(str(each), task).log_probs(sample, torch.zeros(1)) for each in (nllb, path)
    )
    assert torch.allclose(found, wanted, atol=1e-5)
    teacher = load_teacher(str(nllb), str(data), "de", "en")
    assert teacher.task.target_dictionary.symbols[-3:] == ["<MINED_DATA>", "<MMT_BT_DATA>", "<SMT_BT_DATA>"]
