"""Tests of `lskd curves`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fairseq_lskd.cli import main
from fairseq_lskd.records.training import Training
from fairseq_lskd.scoring.curves import Row, read_csv, read_run, read_runs

# Log lines of fairseq-train 0.12.2.
AT = "2024-05-01 10:00:00 | INFO | "
VALID = AT + 'valid | {"epoch": 1, "valid_ppl": "%s", "valid_num_updates": "%d", "valid_bleu": "%s"}\n'
TRAIN = AT + 'train | {"epoch": 1, "train_nll_loss": "3", "train_kd_loss": "0.5", "train_num_updates": "%d"}\n'
INNER = AT + 'train_inner | {"epoch": 1, "loss": "3", "num_updates": "2"}\n'


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--out", "word-s1", "--", "true"]) == 0
    # Killed after update 20, resumed from update 10.
    Path("word-s1/log.txt.1").write_text(VALID % ("90", 10, "1") + VALID % ("50", 20, "2"))
    Path("word-s1/log.txt").write_text(
        INNER + VALID % ("49", 20, "3") + TRAIN % 25 + VALID % ("30", 30, "4") + "x | valid | {\n"
    )
    return tmp_path / "word-s1"


def test_logs_of_a_resumed_training_are_joined(run: Path) -> None:
    assert read_run(run) == [
        Row("word-s1", 10, "valid_bleu", 1),
        Row("word-s1", 10, "valid_ppl", 90),
        Row("word-s1", 20, "valid_bleu", 3),
        Row("word-s1", 20, "valid_ppl", 49),
        Row("word-s1", 25, "train_kd_loss", 0.5),
        Row("word-s1", 25, "train_nll_loss", 3),
        Row("word-s1", 30, "valid_bleu", 4),
        Row("word-s1", 30, "valid_ppl", 30),
    ]


LOSS = AT + 'train_inner | {"epoch": 1, "nll_loss": "%s", "kd_loss": "%s", "num_updates": "%d"}\n'


def test_losses_have_every_logged_point(run: Path) -> None:
    Path("word-s1/log.txt").write_text(
        LOSS % ("4", "1", 2) + LOSS % ("3.5", "0.75", 4) + TRAIN % 5 + VALID % ("9", 5, "1")
    )
    points = [(row.name, row.update, row.value) for row in read_run(run) if row.name.startswith("train_")]
    assert [point for point in points if point[0] == "train_nll_loss"] == [
        ("train_nll_loss", 2, 4),
        ("train_nll_loss", 4, 3.5),
    ]
    assert ("train_kd_loss", 4, 0.75) in points


@pytest.mark.parametrize("place", ["mine", "mine/train.log"])
def test_a_plain_fairseq_train_has_curves(place: str) -> None:
    Path("mine").mkdir()
    Path("mine/checkpoint_last.pt").write_bytes(b"\x00")
    Path("mine/notes.txt").write_text("my notes\n")
    Path("mine/train.log").write_text(VALID % ("90", 10, "1"))
    system = "train" if place.endswith(".log") else "mine"
    assert read_run(Path(place)) == [Row(system, 10, "valid_bleu", 1), Row(system, 10, "valid_ppl", 90)]
    assert main(["curves", place, "--csv", "c.csv"]) == 0


def test_a_folder_of_plain_fairseq_train_has_its_whole_name() -> None:
    for folder in (Path("teacher-0.0"), Path("teacher-0.1")):
        folder.mkdir()
        (folder / "train.log").write_text(VALID % ("90", 10, "1"))
        assert {row.system for row in read_run(folder)} == {folder.name}


def test_trainings_of_the_same_name_are_told_apart(run: Path) -> None:
    shutil.copytree("word-s1", "other/word-s1")
    folders = [Path("word-s1"), Path("other/word-s1")]
    assert {row.system for row in read_runs(folders)} == {"word-s1", "other/word-s1"}
    assert {row.system for row in read_runs(folders[1:])} == {"word-s1"}


def test_rows_and_pictures(run: Path) -> None:
    pytest.importorskip("matplotlib")
    assert main(["curves", "word-s1", "--csv", "c.csv", "--plot", "c.svg"]) == 0
    assert read_csv(Path("c.csv")) == read_run(run)
    assert main(["curves", "--from", "c.csv", "--plot", "d.svg"]) == 0
    assert Path("c.svg").read_bytes() == Path("d.svg").read_bytes()
    assert main(["curves", "--from", "c.csv", "--csv", "d.csv"]) == 0
    assert Path("c.csv").read_bytes() == Path("d.csv").read_bytes()


def test_seeds_are_those_of_the_commands(run: Path) -> None:
    record = json.loads(Path("word-s1/run.json").read_text())
    Path("word-s1/run.json").write_text(json.dumps(record | {"command": ["fairseq-train", "--seed", "4"]}))
    assert {row.seed for row in read_run(run)} == {4}
    assert main(["curves", "word-s1", "--csv", "c.csv"]) == 0
    assert read_csv(Path("c.csv")) == read_run(run)
    # Hydra's commands have no flag, but the record of a finished training has the seed.
    hydra = {"command": ["fairseq-hydra-train", "common.seed=5"], "training": Training(seed=5).to_json()}
    Path("word-s1/run.json").write_text(json.dumps(record | hydra))
    assert {row.seed for row in read_run(run)} == {5}
    # Older rows have the seed only in the name.
    Path("old.csv").write_text("system,update,name,value\nword-s12,1,valid_ppl,2\nword,1,valid_ppl,2\n")
    assert [row.seed for row in read_csv(Path("old.csv"))] == [12, None]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected either RUN or --from"),
        (["word-s1", "--from", "c.csv"], "expected either RUN or --from"),
        (["word-s1"], "give --csv, --plot or both"),
        (["none", "--csv", "c.csv"], "none: found no log"),
        (["--from", "none", "--csv", "c.csv"], "--from none: "),
        (["--from", "word-s1/run.json", "--csv", "c.csv"], "expected the output of `lskd curves --csv`"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["curves", *words])
    assert message in str(caught.value.code) and not Path("c.csv").exists()


@pytest.mark.parametrize(
    "text",
    ["", "system,update,name,value\n", "a,b\n1,2\n", "system,update,name,value\na,1,other,2\n", "a\0b\n", "\xff"],
)
def test_invalid_rows_are_refused(text: str) -> None:
    Path("c.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(SystemExit, match=r"--from c\.csv: .+; expected the output of `lskd curves --csv`"):
        main(["curves", "--from", "c.csv", "--plot", "d.svg"])
    assert not Path("d.svg").exists()


def test_every_training_is_in_the_legend() -> None:
    """Also one without the curve of the first panel."""
    rows = "a,1,valid_ppl,2\na,2,valid_ppl,1\nb-s1,1,train_kd_loss,2\nb-s1,2,train_kd_loss,1\n"
    Path("c.csv").write_text(f"system,update,name,value\n{rows}")
    assert main(["curves", "--from", "c.csv", "--plot", "d.svg"]) == 0
    assert "<!-- a -->" in Path("d.svg").read_text() and "<!-- b -->" in Path("d.svg").read_text()


def test_names_may_have_dollar_signs() -> None:
    Path("c.csv").write_text("system,update,name,value\na$\\frac{$,1,valid_ppl,2\na$\\frac{$,2,valid_ppl,1\n")
    assert main(["curves", "--from", "c.csv", "--plot", "d.svg"]) == 0


def test_a_log_without_points_is_named() -> None:
    Path("word-s1/log.txt").write_text("nothing\n")
    Path("word-s1/log.txt.1").unlink()
    with pytest.raises(SystemExit) as caught:
        main(["curves", "word-s1", "--csv", "c.csv"])
    assert "word-s1/log.txt: " in str(caught.value.code) and "log of fairseq-train" in str(caught.value.code)
    Path("word-s1/log.txt").write_text(INNER)
    with pytest.raises(SystemExit) as caught:
        main(["curves", "word-s1", "--csv", "c.csv"])
    assert "word-s1: found no validation and no training loss in log.txt" in str(caught.value.code)
