"""Tests of the section on the quality of teachers and students."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from fairseq_lskd.errors import UserError
from fairseq_lskd.scoring.quality import Pair, pair_up, read_records, section, spearman, spearman_interval

QUICKSTART = Path(__file__).parents[2] / "docs" / "results" / "quickstart-generated.json"


def record(folder: str, role: str, bleu: float, smoothing: float | None = 0.0, *command: str, **more: Any) -> dict:
    words = ["fairseq-train", "bin", *command, "--save-dir", folder]
    found = {"system": folder.split("/")[-1], "role": role, "method": "none", "teacher_smoothing": smoothing}
    return found | {"temperature": None, "bleu": bleu, "command": words, "checkpoint_sha256": folder} | more


def write(folder: Path, records: list[dict]) -> Path:
    (folder / "results.json").write_text(json.dumps(records))
    return folder


def family(count: int, student: Any, seed: int = 1) -> list[dict]:
    """Return records of teachers with random BLEU and one student each."""
    chance, found = random.Random(seed), []
    for i in range(count):
        bleu = 20 + 10 * chance.random()
        found.append(record(f"runs/t{i}", "teacher", bleu))
        path = ["--teacher-path", f"runs/t{i}/checkpoint_best.pt"]
        found.append(record(f"runs/s{i}", "student", student(bleu, chance), 0.0, *path, method="word", temperature=1.0))
    return found


@pytest.mark.parametrize(
    ("first", "second", "rho"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4, 5], [1, 2, 3, 5, 4], 0.9),  # 1 - 6 * 2 / (5 * 24)
        ([1, 2, 2, 3], [1, 2, 3, 4], 0.948683),  # ties: ranks 1, 2.5, 2.5, 4
    ],
)
def test_spearman_by_hand(first: list[float], second: list[float], rho: float) -> None:
    assert spearman(first, second) == pytest.approx(rho, abs=1e-6)


def test_constant_values_have_no_correlation() -> None:
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))
    with pytest.raises(ValueError, match="3 and 2 values"):
        spearman([1, 2, 3], [1, 2])


def test_the_interval_covers_the_truth() -> None:
    # Spearman's rho of normal variables with correlation r is 6 / pi * asin(r / 2).
    truth = 6 / math.pi * math.asin(0.6 / 2)
    torch.manual_seed(4)
    hits = 0
    for _ in range(400):
        a, b = torch.randn(2, 12)
        found = spearman_interval(a.tolist(), (0.6 * a + 0.8 * b).tolist())
        hits += found.low <= truth <= found.high
    assert hits / 400 >= 0.92


def test_a_perfect_order_of_few_values_has_a_wide_interval() -> None:
    found = spearman_interval([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
    assert found.value == found.high == 1 and found.low < 0.9
    assert math.isnan(spearman_interval([1, 2], [1, 2]).low)


def test_rows_of_the_quickstart() -> None:
    found = section(QUICKSTART)
    assert [row[1::3] for row in found.tables[1].rows[:2]] == [
        ("teacher-0.0-s1", "word-cached-0.0-w1-s1"),
        ("teacher-0.1-s1", "word-cached-0.1-w1-s1"),
    ]
    assert [(row[0], row[1], row[3]) for row in found.tables[0].rows] == [
        ("word level, cached top 16, T = 1.0, weight 1.0", 2, None),
        ("sequence level", 2, None),
    ]
    assert any("2 teachers and 4 students; 0 of the students are better" in words for words in found.words)


def test_better_teachers_better_students(tmp_path: Path) -> None:
    found = section(write(tmp_path, family(8, lambda bleu, chance: bleu - 3 + chance.random())))
    (row,) = found.tables[0].rows
    assert row[1] == 8 and row[2] > 0.8 and row[-1] == "held"
    assert "(word level, T = 1.0, 8 teachers, by BLEU): held" in found.words[0]


def test_worse_students_of_better_teachers(tmp_path: Path) -> None:
    found = section(write(tmp_path, family(8, lambda bleu, chance: 50 - bleu)))
    assert found.tables[0].rows[0][2] == -1 and found.tables[0].rows[0][-1] == "not held"


def test_students_without_variation_do_not_ask_for_more_teachers(tmp_path: Path) -> None:
    found = section(write(tmp_path, family(6, lambda bleu, chance: 20.0)))
    assert "no variation" in found.words[0] and not any("at least five teachers" in words for words in found.words)


def test_several_students_of_a_teacher_count_once(tmp_path: Path) -> None:
    records = family(5, lambda bleu, chance: bleu)
    twins = [r | {"checkpoint_sha256": f"twin{i}"} for i, r in enumerate(records) if r["role"] == "student"]
    found = section(write(tmp_path, records + twins))
    assert found.tables[0].rows[0][1] == 5 and len(found.tables[1].rows) == 10


def test_lower_perplexity_is_better(tmp_path: Path) -> None:
    records = family(6, lambda bleu, chance: bleu)
    for each in records:
        each["valid_ppl"] = 100 / each["bleu"]
    assert section(write(tmp_path, records), "valid_ppl").tables[0].rows[0][2] == 1


def test_teachers_of_older_records() -> None:
    records = [
        record("runs/a/teacher", "teacher", 30, 0.1),
        record("runs/b/teacher", "teacher", 31, 0.1),
        # A sequence-level student has no --teacher-path; its teacher is the only one next to it with that smoothing.
        record("runs/b/seq", "student", 28, 0.1, method="sequence"),
        record("runs/b/plain", "student", 25, None),
        record("runs/c/word", "student", 25, 0.1, "--teacher-path", "elsewhere/t.pt", method="word"),
    ]
    pairs, alone = pair_up(records)
    assert [(pair.teacher["bleu"], pair.student["bleu"]) for pair in pairs] == [(31, 28)]
    assert alone == ["word"]


def test_teachers_are_found_by_digest() -> None:
    teachers = [record(f"runs/teacher-s{seed}", "teacher", 30 + seed, 0.1) for seed in (1, 2)]
    taught = {"method": "sequence", "teacher_smoothing": 0.1}
    students = [
        record("runs/seq-s1", "student", 21, 0.1, **taught, teacher_sha256=["runs/teacher-s1"]),
        record("runs/seq-s2", "student", 22, 0.1, **taught, teacher_sha256=["runs/teacher-s2"]),
        record("runs/other", "student", 23, 0.1, **taught, teacher_sha256=["of another"]),
        record("runs/ensemble", "student", 24, 0.1, **taught, teacher_sha256=["runs/teacher-s1", "runs/teacher-s2"]),
        record("runs/untold", "student", 25, 0.1, **taught),
        # Another teacher was trained in the same folder later.
        record(
            "runs/old", "student", 26, 0.1, "--teacher-path", "runs/teacher-s1/t.pt", **taught, teacher_sha256=["x"]
        ),
    ]
    pairs, alone = pair_up([*teachers, *students])
    assert [(pair.teacher["bleu"], pair.student["bleu"]) for pair in pairs] == [(31, 21), (32, 22)]
    assert alone == ["other", "ensemble", "untold", "old"]
    # A teacher of plain fairseq-train has no role without a label, and an assistant is a student too.
    for role in (None, "student"):
        assert len(pair_up([teachers[0] | {"role": role}, students[0]])[0]) == 1


@pytest.mark.parametrize(
    ("labels", "group"),
    [
        ({"method": "word", "cached": True, "size": "student", "temperature": 2.0}, "word level, cached, T = 2.0"),
        ({"method": "word", "cached": "false", "size": "student_small"}, "word level, student_small"),
        ({"method": "sequence", "strategy": "1-best"}, "sequence level"),
        ({"method": "both", "strategy": "n-best", "temperature": 1.0}, "both levels, n-best, T = 1.0"),
        (
            {"method": "sequence", "strategy": "n-best", "score_temperature": 0.1, "reference_weight": 0.5},
            "sequence level, n-best, score T = 0.1, reference weight 0.5",
        ),
        ({"method": "word", "cached": True, "cache_bytes": 34, "pairs": 3}, "word level, cached 34 bytes, 3 pairs"),
        (
            {"method": "word", "cached": True, "kd_top_k": 8, "kd_rest": "renormalise"},
            "word level, cached top 8, renormalise",
        ),
        ({"method": "word", "cached": False, "kd_top_k": 8}, "word level, top 8"),
        (
            {"method": "word", "kd_weight": 0.5, "divergence": "reverse_kl", "label_smoothing": 0.1},
            "word level, weight 0.5, reverse_kl, own LS 0.1",
        ),
    ],
)
def test_groups_of_students(labels: dict[str, Any], group: str) -> None:
    assert Pair(record("t", "teacher", 30), record("s", "student", 20, **labels)).group == group


@pytest.mark.parametrize("choice", [{"kd_weight": 0.5}, {"divergence": "reverse_kl"}, {"kd_top_k": 8}])
def test_students_that_were_taught_in_different_ways_are_not_averaged(tmp_path: Path, choice: dict[str, Any]) -> None:
    """Each teacher has two students. Those of one way improve with the teacher, those of the other get worse."""
    usual = {"kd_weight": 1.0, "cached": True, "kd_top_k": 16}
    records = [r | (usual if r["role"] == "student" else {}) for r in family(6, lambda bleu, chance: bleu)]
    others = [
        r | choice | {"checkpoint_sha256": f"other{i}", "bleu": 50 - r["bleu"]}
        for i, r in enumerate(records)
        if r["role"] == "student"
    ]
    found = section(write(tmp_path, records + others))
    assert [row[1:3] for row in found.tables[0].rows] == [(6, 1.0), (6, -1.0)]


def test_students_of_several_language_pairs_are_compared_pair_by_pair(tmp_path: Path) -> None:
    """All BLEU is higher for one pair. Within each pair, better teachers have worse students."""
    records = []
    for pair, level in (("de-en", 20), ("fr-en", 60)):
        for each in family(6, lambda bleu, chance: 50 - bleu):
            teachers = {"teacher_sha256": [f"runs/t{each['system'][1:]}"]} if each["role"] == "student" else {}
            records.append(each | {"pair": pair, "bleu": each["bleu"] + level} | teachers)  # multilingual models
    found = section(write(tmp_path, records))
    assert [(row[0], row[1], row[2]) for row in found.tables[0].rows] == [
        ("word level, de-en, T = 1.0", 6, -1.0),
        ("word level, fr-en, T = 1.0", 6, -1.0),
    ]


def test_a_model_with_two_records_counts_once(tmp_path: Path) -> None:
    write(tmp_path, family(2, lambda bleu, chance: bleu))
    (tmp_path / "s0").mkdir()
    (tmp_path / "s0" / "result.json").write_text(json.dumps(json.loads((tmp_path / "results.json").read_text())[1]))
    assert len(read_records(tmp_path)) == 4


def test_unusable_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        section(tmp_path / "none")
    with pytest.raises(UserError, match=r"no result\.json"):
        section(tmp_path)
    with pytest.raises(UserError, match="'valid_entropy', expected one of bleu, chrf"):
        section(tmp_path, "valid_entropy")
    write(tmp_path, [record("runs/x/word", "student", 20, 0.1, method="word")])
    with pytest.raises(UserError, match=r"no records of a student and its teacher \(the teachers of word"):
        section(tmp_path)
    write(tmp_path, family(2, lambda bleu, chance: bleu))
    with pytest.raises(UserError, match="no chrf in the records of s0, s1, t0, t1"):
        section(tmp_path, "chrf")
    (tmp_path / "results.json").write_text("[3]")
    with pytest.raises(UserError, match=r"results\.json: found 3, .*expected the JSON that `lskd record`"):
        section(tmp_path)
