"""Tests of paired differences between systems."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairseq_lskd.cli import main
from fairseq_lskd.scoring.differences import DISTILLED, differences

from .test_over_seeds import result


def student(name: str, seed: int, bleu: float, **labels: Any) -> dict[str, Any]:
    return result(f"{name}-s{seed}", bleu, seed=seed, role="student", size="student", **labels)


ROWS = [
    student("student", 1, 20.0, method="none", valid_ppl=10.0),
    student("student", 2, 21.0, method="none", valid_ppl=11.0),
    student("word-0.0", 1, 22.0, method="word", teacher_smoothing=0.0, cached=False, valid_ppl=9.0, train_kd_loss=0.5),
    student("word-0.0", 2, 23.5, method="word", teacher_smoothing=0.0, cached=False, valid_ppl=9.5, train_kd_loss=0.6),
    student("word-0.1", 2, 24.0, method="word", teacher_smoothing=0.1, cached=False, valid_ppl=9.0, train_kd_loss=0.7),
    student("word-0.1", 1, 23.0, method="word", teacher_smoothing=0.1, cached=False, train_kd_loss=0.5),
    student("word-cached-0.1", 1, 23.1, method="word", teacher_smoothing=0.1, cached=True),
]


@pytest.mark.parametrize("k", [None, 16])
def test_lower_bounds_are_not_compared_with_losses(k: int | None) -> None:
    cached = {"cached": True, "method": "word", "train_kd_loss": 0.3} | ({"kd_top_k": k} if k else {})
    rows = [
        student("word-0.1", 1, 23.0, method="word", teacher_smoothing=0.1, cached=False, train_kd_loss=0.5),
        student("word-cached-0.1", 1, 23.1, teacher_smoothing=0.1, **cached),
        student("word-cached-0.0", 1, 23.2, teacher_smoothing=0.0, **cached),
    ]
    found = {(each.system, each.baseline): each.values for each in differences(rows)[0]}
    assert (
        "train_kd_loss" not in found["word-cached-0.1", "word-0.1"] and "bleu" in found["word-cached-0.1", "word-0.1"]
    )
    assert "train_kd_loss" in found["word-cached-0.0", "word-cached-0.1"]


def test_scores_of_different_tokenisers_are_not_compared() -> None:
    """Those of different versions of sacreBLEU are."""
    rows = [
        student("a", 1, 20.0, method="word", cached=False, signature="nrefs:1|tok:13a|version:2.5"),
        student("b", 1, 30.0, method="word", cached=True, signature="nrefs:1|tok:char|version:2.5"),
    ]
    (found,) = differences(rows)[0]
    assert found.values.keys() == {"chrf"}
    rows[1]["signature"] = "nrefs:1|tok:13a|version:2.6"
    assert differences(rows)[0][0].values["bleu"].mean == 10


def test_caches_of_several_kinds_are_compared_with_the_teacher_itself() -> None:
    kinds = {
        "online": {"cached": False},
        "cut": {"cached": False, "kd_top_k": 8},
        "k8": {"cached": True, "kd_top_k": 8},
        "k16": {"cached": True, "kd_top_k": 16},
        "sampled": {"cached": True, "cache_bytes": 34},
        "more": {"cached": True, "cache_bytes": 66},
        "alone": {"cached": True, "kd_top_k": 8, "kd_rest": "renormalise"},
        "again": {"cached": True, "cache_bytes": 66},
    }
    found, left_out = differences(
        [student(name, 1, 20.0, method="word", train_kd_loss=0.5, **kind) for name, kind in kinds.items()]
    )
    assert {each.system: (each.choice, each.baseline) for each in found} == {
        **dict.fromkeys(("cut", "k8", "k16", "sampled", "more"), ("cached", "online")),
        "alone": ("kd_rest", "k8"),
    }
    assert left_out == ["again"]
    # Unbiased caches estimate the loss over the vocabulary; the others are over fewer types.
    assert {each.system for each in found if "train_kd_loss" in each.values} == {"sampled", "more"}


def test_rows_without_a_language_pair_are_compared_unless_there_are_several() -> None:
    older, newer, other = (student(name, 1, 20.0, method="word", noise=name) for name in ("a", "b", "c"))
    newer["pair"] = "de-en"
    assert [each.system for each in differences([older, newer])[0]] == ["b"]
    other["pair"] = "fr-en"
    assert not differences([older, newer, other])[0]


def test_pairs_and_their_differences_by_hand() -> None:
    found = {(each.choice, each.system, each.baseline): each.values for each in differences(ROWS)[0]}
    assert list(found) == [
        ("teacher_smoothing", "word-0.1", "word-0.0"),
        ("cached", "word-cached-0.1", "word-0.1"),
        (DISTILLED, "word-0.0", "student"),
        (DISTILLED, "word-0.1", "student"),
        (DISTILLED, "word-cached-0.1", "student"),
    ]
    smoothing = found["teacher_smoothing", "word-0.1", "word-0.0"]
    # Differences of 1 and 0.5 in any order of seeds; t for one degree of freedom is 12.706.
    assert (smoothing["bleu"].n, smoothing["bleu"].mean) == (2, 0.75)
    assert smoothing["bleu"].interval == pytest.approx((0.75 - 12.706 * 0.25, 0.75 + 12.706 * 0.25), abs=1e-3)
    assert smoothing["train_kd_loss"].mean == pytest.approx(0.05)
    assert "valid_ppl" not in smoothing  # one seed has none
    cached = found["cached", "word-cached-0.1", "word-0.1"]["bleu"]
    assert (cached.n, cached.interval) == (1, None) and cached.mean == pytest.approx(0.1)
    assert "train_seconds" not in smoothing


def test_teachers_of_two_sizes_are_a_choice() -> None:
    labels = {"method": "word", "teacher_smoothing": 0.1, "teacher_sha256": ["a digest"]}
    rows = [student(f"word-{size}", 1, 30.0, teacher_size=size, **labels) for size in ("teacher", "teacher_large")]
    found, left_out = differences(rows)
    assert [(each.choice, each.system, each.baseline) for each in found] == [
        ("teacher_size", "word-teacher_large", "word-teacher")
    ]
    assert not left_out


def test_models_whose_size_has_no_label_differ_by_their_parameters() -> None:
    def of(name: str, parameters: int, **labels: Any) -> dict[str, Any]:
        labels = {"method": "word", "teacher_smoothing": 0.1, "cached": False, **labels}
        return {**student(name, 1, 30.0, **labels), "size": None, "parameters": parameters}

    rows = [of("big", 2000), of("small", 1000), of("small-cached", 1000, cached=True)]
    found, left_out = differences([*rows, of("deep", 3000, note="deep"), of("larger", 4000, kd_weight=1.0)])
    assert [(each.choice, each.system, each.baseline) for each in found] == [
        ("cached", "small-cached", "small"),
        ("note", "deep", "big"),
        ("parameters", "small", "big"),
    ]
    assert not left_out
    # A label names the size: vocabularies may differ between models of one size.
    named = [{**row, "size": "student"} for row in rows]
    assert [each.choice for each in differences([named[0], named[2]])[0]] == ["cached"]


def test_the_first_value_is_the_baseline() -> None:
    labels = {"method": "word", "teacher_smoothing": 0.0}
    rows = [student(f"word-T{t}", 1, 30.0 - t, temperature=t, **labels) for t in (1, 2, 3)]
    assert [(each.system, each.baseline) for each in differences(rows)[0]] == [
        ("word-T2", "word-T1"),
        ("word-T3", "word-T1"),
    ]


def test_pairs_have_the_same_seed_and_differ_in_one_label() -> None:
    one, other = student("a", 1, 1.0, method="word"), student("b", 2, 1.0, method="sequence")
    assert differences([one, other]) == ([], [])
    assert differences([one, student("b", 1, 2.0, method="sequence", strategy="1-best")]) == ([], [])


def test_systems_with_the_same_labels_are_left_out() -> None:
    labels = {"method": "word", "teacher_smoothing": 0.0}
    rows = [student("a", 1, 1.0, **labels), student("b", 1, 2.0, **labels)]
    rows += [student("a-0.1", 1, 3.0, method="word", teacher_smoothing=0.1)]
    found, left_out = differences(rows)
    assert [(each.system, each.baseline) for each in found] == [("a-0.1", "a")] and left_out == ["b"]


def test_as_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [*ROWS[:4], *(student("seq", s, 30.0 + s, method="sequence", teacher_smoothing=0.0) for s in (1, 2))]
    Path("rows.json").write_text(json.dumps(rows))
    assert main(["table", "rows.json", "--differences", "--write", "d.md"]) == 0
    head, _, word, seq, _, note = capsys.readouterr().out.splitlines()
    assert "BLEU" in head and "train KD" not in head
    assert word.split("  ")[0] == "a teacher" and "+2.2 [-0.9, +5.4]" in word
    # Both seeds have the same difference: the interval has width 0 and does not contain 0.
    assert "+11.0 [+11.0, +11.0]*" in seq
    for fact in ("system - baseline", "2 paired seeds", "95 %", "Student's t", "*: "):
        assert fact in note
    assert "| a teacher" in Path("d.md").read_text() and note in Path("d.md").read_text()
    Path("rows.json").write_text(json.dumps(ROWS[:1]))
    assert main(["table", "rows.json", "--differences"]) == 0
    assert capsys.readouterr().out.startswith("No two systems with a common seed")
