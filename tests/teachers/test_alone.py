"""A teacher loaded without a student's task."""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path

import hostile
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq_lskd.errors import UserError
from fairseq_lskd.teachers.alone import load_teacher
from fairseq_lskd.teachers.average import average_checkpoints


def without_data(path: Path, folder: Path, **changes: object) -> Path:
    """Copy a checkpoint into `folder` and record a data folder that does not exist."""
    state = torch.load(path, weights_only=True)
    state["cfg"]["task"].update({"data": str(folder / "gone"), **changes})
    torch.save(state, folder / "checkpoint.pt")
    return folder / "checkpoint.pt"


def test_dictionaries_are_found(teacher_path: Path, bitext: Path, tmp_path: Path) -> None:
    teacher = load_teacher(str(teacher_path))
    assert teacher.dictionaries == (bitext / "dict.de.txt", bitext / "dict.en.txt")
    assert (len(teacher.models), teacher.max_positions) == (1, (1024, 1024))
    copy = without_data(teacher_path, tmp_path)
    assert load_teacher(str(copy), str(bitext)).dictionaries == teacher.dictionaries
    for name in ("dict.de.txt", "dict.en.txt"):
        shutil.copy(bitext / name, tmp_path)
    assert load_teacher(str(copy)).dictionaries == (tmp_path / "dict.de.txt", tmp_path / "dict.en.txt")


def test_an_ensemble_has_one_vocabulary(teacher_path: Path, other_teacher_path: Path, tmp_path: Path) -> None:
    ensemble = load_teacher(f"{teacher_path}:{other_teacher_path}")
    assert ensemble.paths == [teacher_path, other_teacher_path] and len(ensemble.models) == 2
    other = without_data(other_teacher_path, tmp_path)
    (tmp_path / "dict.de.txt").write_text("b 1\na 1\n")
    with pytest.raises(UserError, match=r"does not fit:\n  - its source dictionary .* differs"):
        load_teacher(f"{teacher_path}:{other}")


def test_mistakes_are_named(teacher_path: Path, bitext: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no checkpoint at .*none.pt"):
        load_teacher(str(tmp_path / "none.pt"))
    copy = without_data(teacher_path, tmp_path)
    with pytest.raises(
        UserError, match=r"needs dict.de.txt and dict.en.txt in one folder, found neither .*--teacher-data"
    ):
        load_teacher(str(copy))
    shutil.copy(bitext / "dict.de.txt", tmp_path)
    with pytest.raises(UserError, match=r"found .*dict.de.txt .*--teacher-data"):
        load_teacher(str(copy))
    with pytest.raises(UserError, match=r"--teacher-data .*: expected the teacher's dictionary at .*dict.en.txt"):
        load_teacher(str(copy), str(tmp_path))
    unknown = without_data(teacher_path, tmp_path, source_lang=None, target_lang=None)
    with pytest.raises(UserError, match=r"does not record its languages.*--source-lang and --target-lang"):
        load_teacher(str(unknown))
    assert load_teacher(str(unknown), str(bitext), "de", "en").task.cfg.source_lang == "de"
    assert load_teacher(str(unknown), str(bitext)).task.cfg.target_lang == "en"  # inferred from the files
    task = without_data(teacher_path, tmp_path, _name="translation_from_pretrained_bart")
    with pytest.raises(
        UserError,
        match=r"'translation_from_pretrained_bart', expected 'translation'.* --no_default_special_tokens",
    ):
        load_teacher(str(task))


def edited(path: Path, folder: Path, section: str, **changes: object) -> Path:
    """Copy a checkpoint and change options of its task or model."""
    state = torch.load(path, weights_only=True)
    state["cfg"][section] = (
        Namespace(**{**dict(vars(state["cfg"][section])), **changes})
        if section == "model"
        else {
            **state["cfg"][section],
            **changes,
        }
    )
    torch.save(state, folder / "edited.pt")
    return folder / "edited.pt"


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("model", {"encoder_attention_heads": 0}),
        ("model", {"decoder_attention_heads": "two"}),
        ("model", {"encoder_embed_dim": "24"}),
        ("model", {"encoder_layers": None}),
        ("model", {"decoder_layers": 1.5}),
        ("model", {"decoder_layers": 1}),
        ("model", {"dropout": "0.3"}),
        ("model", {"encoder_normalize_before": []}),
        ("model", {"activation_fn": "none such"}),
        ("model", {"activation_fn": 3}),
        ("model", {"max_source_positions": "1024"}),
        ("model", {"max_target_positions": -1}),
        ("task", {"max_source_positions": "many"}),
        ("task", {"data": 3}),
        ("task", {"source_lang": ["de"]}),
        ("task", {"target_lang": "../en"}),
        ("task", {"_name": None}),
    ],
)
def test_options_that_were_edited(
    teacher_path: Path, bitext: Path, tmp_path: Path, section: str, changes: dict
) -> None:
    path = edited(teacher_path, tmp_path, section, **changes)
    with hostile.bounded():
        try:
            load_teacher(str(path), str(bitext))
        except UserError as error:
            assert str(path) in str(error) or "the language" in str(error)
            assert len(str(error)) < 1500
        else:
            # Options that have no effect in evaluation may have any value.
            assert changes in ({"dropout": "0.3"}, {"encoder_normalize_before": []})


@pytest.mark.parametrize("kind", ["dropped", "added", "shape", "text", "repeated", "sparse", "name"])
def test_weights_that_do_not_fit_the_model(teacher_path: Path, bitext: Path, tmp_path: Path, kind: str) -> None:
    state = torch.load(teacher_path, weights_only=True)
    name, weights = "decoder.layers.1.fc1.weight", state["model"]
    if kind == "dropped":
        del weights[name]
    elif kind == "name":
        weights[3] = weights.pop(name)
    else:
        changed = {
            "added": weights[name],
            "shape": weights[name][:3],
            "text": "weight",
            "repeated": torch.zeros(1).expand(10**6, 10**6),
            "sparse": weights[name].to_sparse(),
        }
        weights["more" if kind == "added" else name] = changed[kind]
    path = tmp_path / "edited.pt"
    torch.save(state, path)
    with hostile.bounded(), pytest.raises(UserError, match=r"edited\.pt") as caught:
        load_teacher(str(path), str(bitext))
    assert len(str(caught.value)) < 1500
    if kind == "repeated":
        with hostile.bounded(), pytest.raises(UserError, match="has the shape"):
            average_checkpoints([path])


HOSTILE = (None, "", "a", "1", -1, 0, 0.5, 1e300, float("nan"), True, [], [1], {}, {"a": None}, "${oc.env:HOME}", "???")


@settings(hostile.few, max_examples=25)
@given(st.data())
def test_random_options_of_a_teacher(
    teacher_path: Path, bitext: Path, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    section = draw.draw(st.sampled_from(("model", "task")))
    options = torch.load(teacher_path, weights_only=True)["cfg"][section]
    names = sorted(vars(options) if isinstance(options, Namespace) else options)
    changes = draw.draw(st.dictionaries(st.sampled_from(names), st.sampled_from(HOSTILE), min_size=1, max_size=2))
    path = edited(teacher_path, tmp_path_factory.getbasetemp(), section, **changes)
    hostile.read_or_refuse(lambda: load_teacher(str(path), str(bitext)))


@hostile.few
@given(st.data())
def test_random_changes_of_a_checkpoint(
    teacher_path: Path, bitext: Path, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.pt"
    path.write_bytes(draw.draw(hostile.mutated(teacher_path.read_bytes())))
    hostile.read_or_refuse(lambda: load_teacher(str(path), str(bitext)))
