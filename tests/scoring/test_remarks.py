"""Tests of the sentences about shares of the gap, and of warnings about weak teachers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairseq_lskd.cli import main
from fairseq_lskd.scoring.remarks import closed, warnings, without_plain

from .test_taught import rows, student, teacher


def test_insignificant_shares_and_gaps() -> None:
    records = rows()
    for record, bleu in zip(records[6:], (19.0, 24.0, 21.5), strict=True):
        record["bleu"] = bleu
    assert "; not significant)" in closed(records)[0].partition("chrF")[0]
    for record, bleu in zip(records[:3], (20.5, 21.0, 25.0), strict=True):
        record["bleu"] = bleu
    (said,) = closed(records)
    assert "undecided" in said and "BLEU (21.0 to 22.2)" in said and "closes 50 % [50, 50] of the gap in chrF" in said
    for record in records[:3]:
        record["chrf"] = 49.0
    assert closed(records)[0].startswith("word-0.1, between student and its teacher teacher-0.1: ")
    assert "there is no gap in chrF (50.0 to 49.0)" in closed(records)[0]
    assert closed(rows(1))[0].endswith("(one seed)") and closed(rows()[:6]) == []


def test_better_teachers_give_no_warning() -> None:
    assert warnings(rows()) == []


@pytest.mark.parametrize("bleu", [20.0, 19.5])
def test_weak_teachers_give_a_warning(bleu: float) -> None:
    """The teacher has no student yet."""
    (said,) = warnings([teacher(1, bleu), teacher(2, 30.0), *rows(2)[2:4]])
    assert said.startswith("warning: ") and "teacher-0.1" in said and "no better than the student" in said
    assert f"test BLEU {bleu:.1f} against 20.0 (seed 1)" in said and "seed 2" not in said
    assert "Train the teacher longer" in said and "the student smaller" in said


def test_validation_scores_come_first() -> None:
    by = {"validation_metric": "bleu"}
    records: list[dict[str, Any]] = [
        teacher(1, 30.0, validation_best=31.0, **by),
        student("student", 1, 20.0, "none", validation_best=31.5),
    ]
    assert warnings(records) == []  # the student's metric is not known
    records[1] |= by
    (said,) = warnings(records)
    assert "validation BLEU 31.0 against 31.5 (seed 1)" in said and "test" not in said
    assert warnings([record | {"validation_metric": "loss"} for record in records]) == []


def test_incomparable_scores_give_no_warning() -> None:
    plain = student("student", 1, 20.0, "none")
    assert warnings([teacher(2, 10.0), plain]) == []
    assert warnings([teacher(1, 10.0, signature="nrefs:5|tok:13a"), plain]) == []
    bare = teacher(1, 10.0)
    del bare["bleu"]
    assert warnings([bare, plain]) == []


@pytest.mark.parametrize("option", ["--over-seeds", "--differences", ""])
def test_warnings_are_under_every_table(option: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    records = [teacher(1, 19.0), *rows(1)[1:]]
    (tmp_path / "rows.json").write_text(json.dumps(records))
    assert main(["table", str(tmp_path / "rows.json"), *filter(None, [option])]) == 0
    assert warnings(records)[0] in capsys.readouterr().out


def test_a_missing_plain_student_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Without it there is no share of the gap, and a student with a known teacher leads to the question why."""
    big = teacher(1, 30.0) | {"checkpoint_sha256": "digest"}
    taught = [student(name, 1, 25.0, teacher_sha256=["digest"]) for name in ("word", "seq")]
    (said,) = without_plain([*taught, big])
    assert said.startswith("gap closed: not known for word, seq. ")
    assert "scripts/train_teacher.sh --size student" in said
    plain = student("plain", 1, 20.0, "none")
    assert without_plain([*taught, big, plain]) == without_plain([*taught, big, plain | {"role": None}]) == []
    assert without_plain(taught) == []
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([*taught, big]))
    assert main(["table", str(rows)]) == 0
    assert capsys.readouterr().err == f"{said}\n"
    assert main(["table", str(rows), "--differences"]) == 0
    assert capsys.readouterr().err == ""


def test_a_plain_student_without_a_role_is_named() -> None:
    """fairseq's own criterions have no teacher; only a label tells a student from a teacher."""
    taught = student("word-0.1", 1, 25.0, teacher_sha256=["digest"])
    plain = student("plain", 1, 20.0, "none") | {"role": None, "checkpoint_sha256": "other"}
    big = plain | {"system": "big-s1", "checkpoint_sha256": "digest"}
    (said,) = warnings([taught, plain, big])
    assert "plain" in said and "role=student and size=student" in said and "big" not in said
    assert warnings([taught, plain | {"role": "student"}, big]) == warnings([plain, big]) == []


def test_teachers_without_a_role_are_named() -> None:
    """They have equal labels without it, so a table of differences leaves all but the first out."""
    of = [student(f"word-{n}", 1, 25.0, teacher_sha256=[f"digest {n}"]) for n in range(2)]
    plain = student("student", 1, 20.0, "none")
    big = [plain | {"system": f"big-{n}", "role": None, "checkpoint_sha256": f"digest {n}"} for n in range(2)]
    (said,) = warnings([*of, plain, *big])
    assert said.startswith("warning: big-0, big-1 taught students and have no role. Label them role=teacher")
    assert warnings([*of, plain, *(record | {"role": "teacher", "bleu": 30.0} for record in big)]) == []
