"""Tests of finding teachers and plain students, and of shares of the gap in tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from fairseq_lskd.cli import main
from fairseq_lskd.scoring.differences import DISTILLED, differences
from fairseq_lskd.scoring.over_seeds import mean_records
from fairseq_lskd.scoring.remarks import warnings
from fairseq_lskd.scoring.table import format_table
from fairseq_lskd.scoring.taught import add_shares, share_label, shares_of, trios

from .test_over_seeds import result

#: Scores of three seeds, as in test_gap.py.
BLEU = {"teacher-0.1": (30.0, 32.0, 34.0), "student": (20.0, 21.0, 22.0), "word-0.1": (25.0, 28.0, 28.0)}


def teacher(seed: int, bleu: float, smoothing: float = 0.1, **more: Any) -> dict[str, Any]:
    labels = {"role": "teacher", "method": "none", "teacher_smoothing": smoothing, "size": "teacher"}
    return result(f"teacher-{smoothing}-s{seed}", bleu, **{"seed": seed, **labels, **more})


def student(name: str, seed: int, bleu: float, method: str = "word", **more: Any) -> dict[str, Any]:
    labels = {"role": "student", "method": method, "size": "student"}
    labels |= {"teacher_smoothing": 0.1} if method != "none" else {}
    return result(f"{name}-s{seed}", bleu, **{"seed": seed, **labels, **more})


def rows(seeds: int = 3) -> list[dict[str, Any]]:
    of = range(seeds)
    return [
        *(teacher(s + 1, BLEU["teacher-0.1"][s], chrf=60.0) for s in of),
        *(student("student", s + 1, BLEU["student"][s], "none", chrf=50.0) for s in of),
        *(student("word-0.1", s + 1, BLEU["word-0.1"][s], chrf=55.0) for s in of),
    ]


def names(records: list[dict[str, Any]]) -> dict[str, list[tuple[str, ...]]]:
    return {
        system: [tuple(record["system"] for record in trio) for trio in of] for system, of in trios(records).items()
    }


class TestTrios:
    def test_by_labels(self) -> None:
        assert names(rows(2)) == {
            "word-0.1": [
                ("word-0.1-s1", "student-s1", "teacher-0.1-s1"),
                ("word-0.1-s2", "student-s2", "teacher-0.1-s2"),
            ]
        }

    def test_digests_decide(self) -> None:
        """Both students have the same teacher, which has another name and label smoothing."""
        records = rows(2)
        records += [teacher(1, 29.0, 0.0, checkpoint_sha256="digest")]
        for record in records[4:6]:
            record["teacher_sha256"] = ["digest"]
        assert [trio[2] for trio in names(records)["word-0.1"]] == ["teacher-0.0-s1"] * 2

    @pytest.mark.parametrize("digests", [["gone"], ["digest", "other"]], ids=["no such row", "an ensemble"])
    def test_no_row_is_that_teacher(self, digests: list[str]) -> None:
        records = [*rows(1)[:2], student("word-0.1", 1, 25.0, teacher_sha256=digests)]
        records[0]["checkpoint_sha256"] = "digest"
        assert names(records) == {}

    def test_two_sizes_of_teacher(self) -> None:
        large = teacher(1, 33.0, size="teacher_large") | {"system": "teacher-large-0.1-s1"}
        assert names([*rows(1), large]) == {}  # ambiguous
        known = student("word-large", 1, 26.0, teacher_size="teacher_large")
        assert [trio[2] for trio in names([*rows(1), large, known])["word-large"]] == ["teacher-large-0.1-s1"]

    def test_other_seeds_and_sizes_are_left_out(self) -> None:
        assert names([*rows(1)[:2], student("word-0.1", 2, 25.0)]) == {}
        assert names([*rows(1)[:2], student("word-0.1", 1, 25.0, size="student_small")]) == {}
        assert names(rows(1)[1:]) == names(rows(1)[::2]) == {}

    def test_sizes_without_a_name_are_numbers_of_parameters(self) -> None:
        """As in records of plain fairseq-train."""
        sizes = {"plain": 1000, "small-plain": 500}
        plain = [student(name, 1, 20.0, "none", size=None, parameters=number) for name, number in sizes.items()]
        for name, number in sizes.items():
            taught = student("word-0.1", 1, 25.0, size=None, parameters=number)
            assert names([rows(1)[0], *plain, taught])["word-0.1"][0][1] == f"{name}-s1"
        assert names([rows(1)[0], plain[0], taught]) == {}

    def test_plain_students_with_the_same_budget_come_first(self) -> None:
        """This holds for differences too."""
        short, long = (["fairseq-train", "--max-update", updates] for updates in ("100", "900"))
        plain = [student(name, 1, 20.0, "none", command=c) for name, c in (("student", short), ("longer", long))]
        records = [rows(1)[0], *plain, student("word-0.1", 1, 25.0, command=long)]
        assert names(records)["word-0.1"][0][1] == "longer-s1"
        assert [(d.system, d.baseline) for d in differences(records)[0] if d.choice == DISTILLED] == [
            ("word-0.1", "longer")
        ]
        assert names([*records[:2], records[3]])["word-0.1"][0][1] == "student-s1"

    def test_limits_of_trainings_without_a_command_are_their_budget(self) -> None:
        sizes = (("student", 100), ("longer", 900))
        plain = [student(name, 1, 20.0, "none", max_updates=n, command=None) for name, n in sizes]
        for more in ({"max_updates": 900, "command": None}, {"command": ["fairseq-train", "--max-update", "900"]}):
            records = [rows(1)[0], *plain, student("word-0.1", 1, 25.0, **more)]
            assert names(records)["word-0.1"][0][1] == "longer-s1"


def of_pairs() -> list[dict[str, Any]]:
    """Two language pairs: teachers, bilingual students, and students of both pairs with equal budgets and sizes."""
    found = []
    for pair in ("de-en", "fr-en"):
        better = 4 * (pair == "fr-en")
        of = {"pair": pair, "seed": 1}
        records = [
            teacher(1, 30.0 + better, checkpoint_sha256=f"teacher {pair}") | {"system": f"teacher-{pair}-s1"},
            student(f"student-{pair}", 1, 20.0, "none"),
            student(f"word-{pair}", 1, 25.0, teacher_sha256=[f"teacher {pair}"]),
            student(f"many-{pair}", 1, 22.0, "none", pairs=2),
            student(f"many-word-{pair}", 1, 28.0, pairs=2, teacher_sha256=[f"teacher {pair}"]),
        ]
        found += [record | of for record in records]
    return found


def test_students_of_several_pairs_are_compared_pair_by_pair() -> None:
    records = of_pairs()
    assert names(records) == {
        f"{taught}-{pair}": [(f"{taught}-{pair}-s1", f"{plain}-{pair}-s1", f"teacher-{pair}-s1")]
        for pair in ("de-en", "fr-en")
        for taught, plain in (("word", "student"), ("many-word", "many"))
    }
    shares = {system: str(shares_of(of)["bleu"]) for system, of in trios(records).items()}
    assert shares == {
        "word-de-en": "50 %",
        "many-word-de-en": "75 %",  # (28 - 22) / (30 - 22)
        "word-fr-en": "36 %",  # (25 - 20) / (34 - 20)
        "many-word-fr-en": "50 %",
    }
    compared = {(d.choice, d.system, d.baseline) for d in differences(records)[0]}
    assert ("pairs", "many-word-de-en", "word-de-en") in compared
    assert ("pairs", "many-fr-en", "student-fr-en") in compared
    assert all(system[-5:] == baseline[-5:] for _, system, baseline in compared)
    assert warnings(records) == []


def test_a_multilingual_teacher_is_compared_on_the_pair_of_the_student() -> None:
    records = of_pairs()
    for record in records:  # one checkpoint, with a record for each pair
        if record["role"] == "teacher":
            record["checkpoint_sha256"] = "one"
        elif record["method"] != "none":
            record["teacher_sha256"] = ["one"]
    shares = {system: str(shares_of(of)["bleu"]) for system, of in trios(records).items()}
    assert shares == {"word-de-en": "50 %", "many-word-de-en": "75 %", "word-fr-en": "36 %", "many-word-fr-en": "50 %"}


def test_records_without_a_pair_are_of_the_same() -> None:
    """Those of older versions."""
    records = of_pairs()[:3]
    del records[1]["pair"]
    assert list(names(records)) == ["word-de-en"]


def test_a_table_shows_pairs_if_there_are_several() -> None:
    head = format_table(of_pairs()).splitlines()[0]
    assert head.split()[:2] == ["system", "pair"] and "pairs of training" in head
    assert "pair" not in format_table(of_pairs()[:3]).splitlines()[0].split()


def test_scores_that_cannot_be_compared_give_no_share() -> None:
    records = rows(1)
    records[0]["signature"] = "nrefs:1|tok:intl"
    (of,) = trios(records).values()
    assert list(shares_of(of)) == ["chrf"]
    del records[1]["chrf"]
    assert shares_of(of) == {}


def test_a_row_has_the_share_of_its_seeds() -> None:
    records = rows()
    means = mean_records(records)
    add_shares(means, records, over_seeds=True)
    assert [str(row.get("bleu_gap_closed", "")) for row in means] == ["", "", "55 % [35, 75]"]
    assert str(means[2]["chrf_gap_closed"]) == "50 % [50, 50]"
    assert [share_label(row) for row in means] == ["", "", "55 % [35, 75] of the gap"]
    single = [dict(record) for record in records]
    add_shares(single, records, over_seeds=False)
    assert [str(row["bleu_gap_closed"]) for row in single[6:]] == ["50 %", "64 %", "50 %"]
    assert "bleu_gap_closed" not in records[6]  # the records are not changed


class TestCommand:
    @pytest.fixture(autouse=True)
    def files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("rows.json").write_text(json.dumps(rows()))
        Path("one.json").write_text(json.dumps(rows(1)))

    def test_in_every_style(self, capsys: pytest.CaptureFixture) -> None:
        assert main(["table", "rows.json", "--over-seeds", "--write", "t.md", "t.tex", "--out", "out.json"]) == 0
        said = capsys.readouterr().out
        head, _, _, _, word, *notes = said.splitlines()
        assert "gap closed" in head and "chrF gap closed" in head and "55 % [35, 75]" in word
        assert any("95 % confidence interval" in note and "Fieller" in note for note in notes)
        assert not any("one seed" in note or "undecided" in note for note in notes)
        assert "| 55 % [35, 75] |" in Path("t.md").read_text()
        text = Path("t.tex").read_text()
        assert r"55 \% [35, 75]" in text and r"95 \% confidence interval" in text
        assert json.loads(Path("out.json").read_text()) == rows()

    def test_one_seed_has_a_note(self, capsys: pytest.CaptureFixture) -> None:
        for options in ([], ["--over-seeds"]):
            assert main(["table", "one.json", *options]) == 0
            said = capsys.readouterr().out
            assert "50 %" in said.splitlines()[4] and "[" not in said.splitlines()[4]
            assert "one seed: there is no interval" in said and "Fieller" not in said

    def test_as_numbers(self) -> None:
        assert main(["table", "rows.json", "--over-seeds", "--csv", "rows.csv"]) == 0
        with Path("rows.csv").open() as stream:
            found = list(csv.DictReader(stream))
        assert found[0]["bleu_gap_closed"] == "" and float(found[6]["bleu_gap_closed"]) == 0.5
        over = [float(found[7][f"bleu_gap_closed_over_seeds{end}"]) for end in ("", "_low", "_high")]
        assert over == pytest.approx([6 / 11, 0.34685, 0.74895], abs=2e-4)
        assert main(["table", "one.json", "--csv", "one.csv"]) == 0
        assert "over_seeds" not in Path("one.csv").read_text()

    def test_in_words_beside_the_differences(self, capsys: pytest.CaptureFixture) -> None:
        assert main(["table", "rows.json", "--differences", "--write", "d.md"]) == 0
        (line,) = [line for line in Path("d.md").read_text().splitlines() if line.startswith("- ")]
        assert line.startswith("- word-0.1 closes 55 % [35, 75] of the gap in BLEU (21.0 to 32.0)")
        assert "50 % [50, 50] of the gap in chrF (50.0 to 60.0)" in line and "teacher-0.1" in line
        assert line in capsys.readouterr().out
