"""Tests of averaging over seeds, and of speeds in tables and plots."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from fairseq_lskd.cli import main
from fairseq_lskd.records.result import system_of
from fairseq_lskd.scoring.over_seeds import add_speeds, mean_records

MACHINE = {"gpus": [], "cpu": "A CPU"}


def result(system: str, bleu: float, **more: Any) -> dict[str, Any]:
    fixed = {"signature": "nrefs:1|tok:13a", "chrf_signature": "nrefs:1|nc:6", "command": ["fairseq-train"]}
    return {"system": system, "parameters": 1000, "bleu": bleu, "chrf": 50.0, "train_seconds": 60.0, **fixed, **more}


ROWS = [
    result("teacher-0.1-s1", 30.0, seed=1, role="teacher", method="none", parameters=5000, teacher_smoothing=0.1),
    result("teacher-0.1-s2", 33.0, seed=2, role="teacher", method="none", parameters=5000, teacher_smoothing=0.1),
    result("word-0.1-s1", 20.0, seed=1, role="student", method="word", train_kd_loss=0.5),
    result("word-0.1-s2", 22.0, seed=2, role="student", method="word", train_kd_loss=0.7),
]
SPEEDS = {
    "machine": MACHINE,
    "threads": 2,
    "systems": {"teacher-0.1-s1": {"sentences_per_second": 10.0}, "word-0.1-s1": {"sentences_per_second": 40.0}},
}


def test_the_name_of_a_system_has_no_seed() -> None:
    assert system_of(ROWS[1]) == "teacher-0.1"
    assert system_of({"system": "a-s2", "seed": 1}) == system_of({"system": "a-s2"}) == "a-s2"


@pytest.mark.parametrize(
    ("answers", "wanted"),
    [((True, True), True), ((True, False), False), ((None, False), False), ((True, None), None)],
)
def test_a_system_has_converged_if_every_seed_has(answers: tuple[bool | None, ...], wanted: bool | None) -> None:
    rows = [result(f"a-s{seed}", 1.0, seed=seed, converged=each) for seed, each in enumerate(answers, start=1)]
    (mean,) = mean_records(rows)
    assert mean["converged"] is wanted
    assert "converged" not in mean_records(ROWS)[0]


def test_the_course_of_a_training_is_not_a_label(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Systems are compared although one row has no course, as in older files."""
    course = {"updates": 900, "max_updates": 1200, "patience": 8, "validation_metric": "bleu", "converged": True}
    rows = [result("a", 1.0, role="student", temperature=1), result("b", 2.0, role="student", temperature=2, **course)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    main(["table", str(tmp_path / "rows.json"), "--differences", "--csv", str(tmp_path / "rows.csv")])
    said = capsys.readouterr().out
    assert "temperature" in said and "+1.0" in said and "900" not in said
    with (tmp_path / "rows.csv").open() as stream:
        found = list(csv.DictReader(stream))
    assert [(row["updates"], row["converged"]) for row in found] == [("", ""), ("900", "True")]


def test_means_by_hand() -> None:
    teacher, word = mean_records(ROWS)
    assert (teacher["system"], teacher["seeds"], teacher["bleu"]) == ("teacher-0.1", 2, 31.5)
    assert teacher["bleu_std"] == pytest.approx(4.5**0.5) and teacher["chrf_std"] == 0
    assert word["train_kd_loss"] == pytest.approx(0.6) and "train_kd_loss" not in teacher
    assert teacher["parameters"] == 5000 and teacher["teacher_smoothing"] == 0.1
    (one,) = mean_records(ROWS[:1])
    assert one["bleu"] == 30.0 and one["bleu_std"] is None and "seeds" not in one


def test_a_speed_counts_for_all_seeds() -> None:
    rows = [dict(row) for row in ROWS]
    add_speeds(rows, SPEEDS)
    assert [row["sentences_per_second"] for row in rows] == [10.0, 10.0, 40.0, 40.0]
    assert rows[3]["speed_machine"] == "A CPU, 2 threads"
    # Unless each was measured.
    add_speeds(rows, SPEEDS | {"systems": SPEEDS["systems"] | {"word-0.1-s2": {"sentences_per_second": 44.0}}})
    assert [row["sentences_per_second"] for row in rows] == [10.0, 10.0, 40.0, 44.0]


def test_a_multilingual_model_has_a_speed_for_the_pair_that_was_decoded() -> None:
    """`lskd record` adds the pair to the name of the run: many-s1."""
    pairs = {"pairs": 2, "role": "student", "method": "word"}
    rows = [
        result(f"{name}-{pair}-s{seed}", 20.0, seed=seed, pair=pair, **more)
        for name, more in (("many", pairs), ("one", {}))
        for pair in ("de-en", "fr-en")
        for seed in (1, 2)
    ]
    speeds = SPEEDS | {"options": ["--beam", "5", "-s", "de", "--target-lang", "en"]}
    speeds |= {"systems": {"many-s1": {"sentences_per_second": 7.0}, "one-fr-en-s1": {"sentences_per_second": 9.0}}}
    assert add_speeds(rows, speeds) == ["many-fr-en", "one-de-en"]
    assert [row.get("sentences_per_second") for row in rows] == [7.0, 7.0, None, None, None, None, 9.0, 9.0]
    for row in rows:
        row.pop("sentences_per_second", None)
    assert add_speeds(rows, speeds | {"options": []}) == ["many-de-en", "many-fr-en", "one-de-en"]


class TestTable:
    @pytest.fixture(autouse=True)
    def files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("rows.json").write_text(json.dumps(ROWS))
        Path("speed.json").write_text(json.dumps(SPEEDS))

    def test_rows_without_a_speed_are_named(self, capsys: pytest.CaptureFixture) -> None:
        speeds = SPEEDS | {
            "systems": {"word-0.1-s1": {"sentences_per_second": 40.0}},
            "options": ["-s", "a", "-t", "b"],
        }
        Path("speed.json").write_text(json.dumps(speeds))
        assert main(["table", "rows.json", "--over-seeds", "--speed", "speed.json"]) == 0
        said = capsys.readouterr().err
        assert said == (
            "warning: --speed speed.json has no speed of teacher-0.1. It has those of word-0.1-s1, which decoded a-b\n"
        )

    def test_over_seeds_with_speeds(self, capsys: pytest.CaptureFixture) -> None:
        words = ["table", "rows.json", "--over-seeds", "--speed", "speed.json", "--out", "out.json", "--csv", "out.csv"]
        assert main([*words, "--write", "t.md", "t.tex"]) == 0
        said = capsys.readouterr().out
        head, _, teacher, word, *notes = said.splitlines()
        assert "sent/s" in head and "31.5 +- 2.1" in teacher and "10" in teacher.split() and "0.600 +- 0.141" in word
        assert "+-: standard deviation over seeds" in notes
        assert any(note.startswith("sent/s: ") and "on A CPU, 2 threads" in note for note in notes)
        raw = json.loads(Path("out.json").read_text())
        assert len(raw) == 4 and raw[1]["bleu"] == 33.0 and raw[1]["sentences_per_second"] == 10.0
        with Path("out.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        assert [row["bleu"] for row in rows] == ["30.0", "33.0", "20.0", "22.0"] and "command" not in rows[0]
        assert "| word-0.1    |" in Path("t.md").read_text() and "`BLEU: nrefs:1|tok:13a`" in Path("t.md").read_text()
        assert r"\toprule" in Path("t.tex").read_text()

    def test_exported_models_are_in_the_csv(self) -> None:
        exported = {"bleu": 29.5, "chrf": 49.0, "bytes": 1000, "compute_type": "int8"}
        Path("rows.json").write_text(json.dumps([row | {"exported": exported} for row in ROWS]))
        speeds = json.loads(json.dumps(SPEEDS))
        speeds["systems"]["teacher-0.1-s1"] |= {"exported": {"sentences_per_second": 70.0}, "others_cores": 1.5}
        Path("speed.json").write_text(json.dumps(speeds))
        assert main(["table", "rows.json", "--speed", "speed.json", "--csv", "out.csv", "--write", "t.md"]) == 0
        with Path("out.csv").open() as stream:
            teacher, _, word, _ = csv.DictReader(stream)
        assert (teacher["exported_bleu"], teacher["exported_bytes"]) == ("29.5", "1000")
        assert (teacher["exported_sentences_per_second"], word["exported_sentences_per_second"]) == ("70.0", "")
        assert teacher["exported_compute_type"] == "int8" and teacher["speed_others_cores"] == "1.5"
        assert "other programs kept 1.5 cores busy: doubtful" in Path("t.md").read_text()

    def test_duplicate_records_count_once(self, capsys: pytest.CaptureFixture) -> None:
        rows = [{**row, "checkpoint_sha256": f"{i:064x}"} for i, row in enumerate(ROWS)]
        Path("rows.json").write_text(json.dumps(rows))
        Path("again.json").write_text(json.dumps([{**row, "sentences_per_second": 5.0} for row in rows[:2]]))
        assert main(["table", "rows.json", "again.json", "--over-seeds"]) == 0
        teacher = capsys.readouterr().out.splitlines()[2].split()
        assert "31.5" in teacher and "2" in teacher and "5" in teacher

    def test_two_records_of_a_system_and_seed_are_refused(self) -> None:
        Path("other.json").write_text(json.dumps({**ROWS[0], "bleu": 31.0}))
        assert main(["table", "rows.json", "other.json"]) == 0
        for option in ("--over-seeds", "--differences"):
            with pytest.raises(SystemExit, match=r"other\.json .*same system and seed, teacher-0\.1-s1"):
                main(["table", "rows.json", "other.json", option])

    @pytest.mark.parametrize("option", ["--over-seeds", "--differences"])
    def test_seeds_that_were_scored_in_different_ways_are_refused(self, option: str) -> None:
        Path("other.json").write_text(json.dumps({**ROWS[1], "signature": "nrefs:1|tok:char|version:2.5"}))
        Path("rows.json").write_text(json.dumps([ROWS[0]]))
        assert main(["table", "rows.json", "other.json"]) == 0  # with both signatures
        message = (
            r"rows\.json and other\.json: seeds of teacher-0\.1 .*tok:13a and nrefs:1\|tok:char, so their mean BLEU"
        )
        with pytest.raises(SystemExit, match=message):
            main(["table", "rows.json", "other.json", option])
        Path("other.json").write_text(json.dumps({**ROWS[1], "signature": "nrefs:1|tok:13a|version:2.5"}))
        assert main(["table", "rows.json", "other.json", option]) == 0

    @pytest.mark.parametrize("option", ["--over-seeds", "--differences"])
    def test_two_records_of_a_system_and_seed_in_one_file_are_refused(self, option: str) -> None:
        Path("twins.json").write_text(json.dumps([result("word-s1", 20.0, seed=1), result("word-s1", 40.0, seed=1)]))
        with pytest.raises(SystemExit, match=r"twins\.json and twins\.json .*same system and seed, word-s1"):
            main(["table", "twins.json", option])

    def test_scores_without_bleu(self, capsys: pytest.CaptureFixture) -> None:
        bare = {"system": "a", "parameters": 10, "ter": 60.25, "ter_signature": "nrefs:1|case:lc|tok:tercom"}
        Path("ter.json").write_text(json.dumps(bare))
        assert main(["table", "ter.json"]) == 0
        said = capsys.readouterr().out
        assert "60.2" in said and "TER: nrefs:1|case:lc|tok:tercom" in said
        with pytest.raises(SystemExit, match=r"--plot: .*BLEU"):
            main(["table", "ter.json", "--plot", "a.svg"])
        Path("ter.json").write_text('{"system": "a", "bleu": 3}')
        with pytest.raises(SystemExit, match=r"ter\.json: .*no sacreBLEU signature"):
            main(["table", "ter.json"])

    @pytest.mark.parametrize("kind", ["svg", "png"])
    def test_plots_are_reproducible(self, kind: str) -> None:
        pytest.importorskip("matplotlib")
        pictures = []
        for name in (f"a.{kind}", f"b.{kind}"):
            main(["table", "rows.json", "--over-seeds", "--speed", "speed.json", "--plot", name, "--title", "T"])
            pictures.append(Path(name).read_bytes())
        assert pictures[0] == pictures[1] and len(pictures[0]) > 5000

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--plot", "a.xyz"], "--plot a.xyz: expected a file name that ends in .svg, .png or .pdf"),
            (["--write", "a.doc"], "--write a.doc: expected an extension of .md, .tex"),
            (["--speed", "rows.json"], "--speed rows.json: "),
            (["--speed", "none"], "--speed none: cannot be read"),
        ],
    )
    def test_mistakes_are_named(self, words: list[str], message: str) -> None:
        pytest.importorskip("matplotlib")
        with pytest.raises(SystemExit) as caught:
            main(["table", "rows.json", *words])
        assert message in str(caught.value.code)
        assert sorted(path.name for path in Path().iterdir()) == ["rows.json", "speed.json"]
