"""Which of the teachers a student is of."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fairseq_lskd.analysis.measurement import Measurement, Plan
from fairseq_lskd.analysis.system import System
from fairseq_lskd.files import sha256
from fairseq_lskd.measuring.origin import Origin
from fairseq_lskd.measuring.study import Study


def system(name: str, smoothing: float | None = None) -> System:
    return System(name, Measurement(Plan(5, torch.arange(5), torch.arange(0), 5, 1)), smoothing)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("plain.pt", "plain"),  # whatever the label says
        ("other.pt", None),  # one that is not looked at
        ("gone.pt", "smooth"),  # moved since, as far as anyone knows
        (None, "smooth"),  # of a cache, or of translations
        ("smooth.pt:other.pt", None),
        ("smooth.pt:gone.pt", "smooth"),
    ],
)
def test_a_student_s_teacher(
    path: str | None, wanted: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("plain.pt", "smooth.pt", "other.pt"):
        Path(name).touch()
    study = Study.__new__(Study)
    study.request = SimpleNamespace(teacher=["plain.pt", "smooth.pt"])  # type: ignore[assignment]  # what it asks for
    teachers = [system("plain", 0.0), system("smooth", 0.1)]
    assert study._taught(system("student"), Origin(None, 0.1, path, None), teachers).taught_by == wanted


@pytest.mark.parametrize(("taught_by", "wanted"), [("first", "first"), ("second", "second"), ("third", None)])
def test_digests_tell_teachers_of_one_smoothing_apart(
    taught_by: str, wanted: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second", "third"):
        Path(name).write_text(name)
    study = Study.__new__(Study)
    study.request = SimpleNamespace(teacher=["first", "second"])  # type: ignore[assignment]  # what it asks for
    teachers = [system("first", 0.1), system("second", 0.1)]
    mine = Origin(None, 0.1, None, None, teachers=(sha256(Path(taught_by)),))
    assert study._taught(system("student"), mine, teachers).taught_by == wanted
    # One that was trained anew in its place is another.
    there = dataclasses.replace(mine, teacher_path="first")
    assert study._taught(system("student"), there, teachers).taught_by == wanted
