"""A teacher without a student's task."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from fairseq_lskd.errors import UserError
from fairseq_lskd.teachers.alone import load_teacher


def without_data(path: Path, folder: Path, **changes: object) -> Path:
    """A copy of a checkpoint in `folder` that records no data folder."""
    state = torch.load(path, weights_only=True)
    state["cfg"]["task"].update({"data": str(folder / "gone"), **changes})
    torch.save(state, folder / "checkpoint.pt")
    return folder / "checkpoint.pt"


def test_its_dictionaries_are_found(teacher_path: Path, bitext: Path, tmp_path: Path) -> None:
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
    with pytest.raises(UserError, match=r"does not fit:\n  - its source dictionary .* is another"):
        load_teacher(f"{teacher_path}:{other}")


def test_mistakes_are_named(teacher_path: Path, bitext: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no checkpoint at .*none.pt"):
        load_teacher(str(tmp_path / "none.pt"))
    copy = without_data(teacher_path, tmp_path)
    with pytest.raises(
        UserError, match=r"needs dict.de.txt and dict.en.txt in one folder, found neither \(looked beside"
    ):
        load_teacher(str(copy))
    shutil.copy(bitext / "dict.de.txt", tmp_path)
    with pytest.raises(UserError, match=r"found .*dict.de.txt \(looked beside .*name their folder with --teacher-data"):
        load_teacher(str(copy))
    with pytest.raises(UserError, match=r"--teacher-data .*: expected the teacher's dictionary at .*dict.en.txt"):
        load_teacher(str(copy), str(tmp_path))
    unknown = without_data(teacher_path, tmp_path, source_lang=None, target_lang=None)
    with pytest.raises(UserError, match="does not say what it translates: name --source-lang and --target-lang"):
        load_teacher(str(unknown))
    assert load_teacher(str(unknown), str(bitext), "de", "en").task.cfg.source_lang == "de"
    task = without_data(teacher_path, tmp_path, _name="translation_from_pretrained_bart")
    with pytest.raises(
        UserError,
        match=r"on the task 'translation_from_pretrained_bart', expected 'translation'\. Convert it with one of",
    ):
        load_teacher(str(task))
