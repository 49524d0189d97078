"""What is read from a checkpoint's own record, and from the data."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fairseq_lskd.errors import UserError
from fairseq_lskd.measuring.origin import Origin, origin, same_file
from fairseq_lskd.measuring.splits import count_types, holding, load_split


def recorded(path: Path, out: Path, labels: dict | None = None, **criterion: object) -> str:
    """The checkpoint as if its training had been that of this criterion."""
    state = torch.load(path, weights_only=True)
    state["cfg"]["criterion"] = criterion
    state["cfg"]["common"] = {"seed": 3}
    torch.save(state, out / "checkpoint.pt")
    if labels is not None:
        (out / "run.json").write_text(json.dumps({"labels": labels}))
    return str(out / "checkpoint.pt")


@pytest.mark.parametrize(
    ("criterion", "labels", "wanted"),
    [
        ({"_name": "label_smoothed_teacher", "label_smoothing": 0.1}, None, Origin(0.1, None, None, None)),
        ({"_name": "label_smoothed_cross_entropy", "label_smoothing": 0.2}, None, Origin(0.2, None, None, None)),
        ({"_name": "cross_entropy"}, None, Origin(0.0, None, None, None)),
        ({"_name": "of another plug-in"}, None, Origin(None, None, None, None)),
        (
            {"_name": "word_kd", "label_smoothing": 0.0, "teacher_path": "a.pt", "kd_temperature": 2.0},
            None,
            Origin(0.0, None, "a.pt", 2.0, {"method": "word", "cached": False}),
        ),
        (
            {"_name": "word_kd", "label_smoothing": 0.0, "teacher_cache": "cache", "kd_temperature": 2.0},
            {"teacher_smoothing": "0.1", "temperature": "2.0", "cached": True, "kd_weight": "0.5", "seed": 4},
            Origin(0.0, 0.1, None, 2.0, {"method": "word", "cached": True, "kd_weight": 0.5}, 3),
        ),
        (
            {"_name": "seq_kd", "label_smoothing": 0.0, "teacher_path": None, "kd_temperature": 1.0},
            {"teacher_smoothing": 0.1, "temperature": None},
            Origin(0.0, 0.1, None, None, {"method": "sequence"}),
        ),
        (
            {
                "_name": "seq_kd",
                "label_smoothing": 0.0,
                "teacher_path": "a.pt",
                "kd_temperature": 1.0,
                "kd_weight": 0.3,
            },
            None,
            Origin(0.0, None, "a.pt", 1.0, {"method": "both", "cached": False, "kd_weight": 0.3}),
        ),
    ],
)
def test_how_a_model_was_trained_is_in_its_checkpoint_and_record(
    teacher_path: Path, tmp_path: Path, criterion: dict, labels: dict | None, wanted: Origin
) -> None:
    assert origin(recorded(teacher_path, tmp_path, labels, **criterion)) == replace(wanted, seed=3)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"labels": 3}'])
def test_a_broken_record_of_the_run_says_nothing(teacher_path: Path, tmp_path: Path, text: str) -> None:
    path = recorded(teacher_path, tmp_path, _name="cross_entropy")
    (tmp_path / "run.json").write_text(text)
    assert origin(path) == Origin(0.0, None, None, None, seed=3)


def test_every_member_of_an_ensemble_needs_numbers(teacher_path: Path, tmp_path: Path) -> None:
    state = torch.load(teacher_path, weights_only=True)
    state["model"]["decoder.embed_tokens.weight"][0, 0] = torch.inf
    torch.save(state, tmp_path / "broken.pt")
    with pytest.raises(UserError, match=r"broken.pt holds weights that are not numbers .* decoder.embed_tokens.weight"):
        origin(f"{teacher_path}:{tmp_path / 'broken.pt'}")


def test_paths_of_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(__file__, "a.pt")
    assert same_file("a.pt", f"{tmp_path}/a.pt") and same_file("a.pt:b.pt", "./a.pt:b.pt")
    assert not same_file("a.pt", "a.pt:b.pt") and not same_file("a.pt", "b.pt")


def test_counts_are_of_target_tokens_without_padding(task) -> None:
    dictionary = task.target_dictionary
    found = count_types(task.dataset("valid"), np.array([0, 3]), len(dictionary), dictionary.pad())
    tokens = [*task.dataset("valid").tgt[0].tolist(), *task.dataset("valid").tgt[3].tolist()]
    assert found.tolist() == [tokens.count(kind) for kind in range(len(dictionary))]
    assert found[dictionary.eos()] == 2


def test_sentences_that_hold_types_are_enough_and_not_many_more(task) -> None:
    dataset, dictionary = task.dataset("train"), task.target_dictionary
    types = [dictionary.index("J"), dictionary.index("B")]
    found = holding(dataset, types, 6)
    occurs = [[int((dataset.tgt[i] == kind).sum()) for i in found] for kind in types]
    assert all(sum(each) >= 6 for each in occurs)
    assert all(any(each[i] for each in occurs) for i in range(len(found)))
    assert len(found) < 30 and sorted(set(found)) == found.tolist()
    everything = holding(dataset, types, 10**6)
    assert len(everything) == sum(bool(set(types) & set(row.tolist())) for row in (dataset.tgt[i] for i in range(60)))


def test_a_split_that_is_not_there_is_named_with_those_that_are(task) -> None:
    with pytest.raises(UserError, match=r"--split test: .* has no such split of de-en; it has: train, valid$"):
        load_split(task, "test")
