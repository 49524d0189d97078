"""Tests of finding a student's teacher."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny import binarise

from fairseq_lskd.analysis.measurement import Measurement, Plan
from fairseq_lskd.analysis.system import System
from fairseq_lskd.errors import UserError
from fairseq_lskd.files import sha256
from fairseq_lskd.measuring.splits import load_split
from fairseq_lskd.measuring.study import Study, _training_of
from fairseq_lskd.records.training import Teacher, Training
from fairseq_lskd.teachers.task import translation_task


def system(name: str, smoothing: float | None = None) -> System:
    return System(name, Measurement(Plan(5, torch.arange(5), torch.arange(0), 5, 1)), smoothing)


@pytest.mark.parametrize(("label", "wanted"), [(0.1, "smooth"), ("0.0", "plain"), (0.2, None), (None, None)])
def test_without_a_digest_the_label_decides(label: object, wanted: str | None) -> None:
    study = Study.__new__(Study)
    teachers = [system("plain", 0.0), system("smooth", 0.1)]
    mine = Training(labels={"teacher_smoothing": label})
    assert study._taught(system("student"), mine, teachers).taught_by == wanted


@pytest.mark.parametrize(("taught_by", "wanted"), [("first", "first"), ("second", "second"), ("third", None)])
def test_digests_distinguish_teachers_of_equal_smoothing(
    taught_by: str, wanted: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second", "third"):
        Path(name).write_text(name)
    study = Study.__new__(Study)
    study.request = SimpleNamespace(teacher=["first", "second"])  # type: ignore[assignment]
    teachers = [system("first", 0.1), system("second", 0.1)]
    mine = Training(labels={"teacher_smoothing": 0.1}, teachers=(Teacher(sha256(Path(taught_by)), None),))
    assert study._taught(system("student"), mine, teachers).taught_by == wanted


def test_an_ensemble_has_a_label_smoothing_if_its_members_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    smoothings = {"plain": 0.0, "smooth": 0.1, "other": 0.1}
    module = "fairseq_lskd.measuring.study"
    monkeypatch.setattr(f"{module}.check_weights", lambda *_: None)
    monkeypatch.setattr(f"{module}.read_archive", lambda _: {"model": {}})
    monkeypatch.setattr(f"{module}.training_of", lambda path, state: Training(label_smoothing=smoothings[path]))
    found = {paths: _training_of(paths).label_smoothing for paths in ("plain:smooth", "smooth:other", "plain")}
    assert found == {"plain:smooth": None, "smooth:other": 0.1, "plain": 0.0}


def test_data_may_be_binarised_in_the_other_direction(tmp_path: Path) -> None:
    data = binarise(tmp_path)  # de-en
    study = Study.__new__(Study)
    study.request = SimpleNamespace(teacher=[], student=[], truth=None, split="valid", data=str(data))  # type: ignore[assignment]
    study.task = translation_task(str(data), "en", "de")
    names = ("dict.en.txt", "dict.de.txt", "valid.de-en.en.bin", "valid.de-en.de.bin")
    assert study.inputs == {name: sha256(data / name) for name in names}
    with pytest.raises(UserError, match=r"--split test: .* en-de; expected one of train, valid$"):
        load_split(study.task, "test")
