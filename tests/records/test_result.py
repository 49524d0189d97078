"""Tests of result records: invalid content is refused with the name of the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.records.result import COLUMNS, SCHEMA, SHAPE, Result, is_label, read_results
from fairseq_lskd.scoring.quality import read_records

RECORD = {"system": "a-s1", "seed": 1, "bleu": 20.0, "signature": "nrefs:1", "role": "teacher", "parameters": 9}


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_one_record_or_many(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    assert read_results(write(path, RECORD)) == [RECORD]
    assert read_results(write(path, [RECORD, RECORD | {"valid_ppl": None}])) == [RECORD, RECORD | {"valid_ppl": None}]


COMMITTED = sorted((Path(__file__).parents[2] / "docs/results").glob("**/*.json"))


@pytest.mark.parametrize(
    "path", [path for path in COMMITTED if path.name != "rows.json"], ids=lambda path: path.parent.name
)
def test_committed_rows_survive_a_round_trip(path: Path) -> None:
    for row in read_results(path):
        again = Result.from_row(row).to_row()
        # Older rows have no schema.
        assert again == {"schema": SCHEMA, **row} | dict.fromkeys(again.keys() - row.keys() - {"schema"})


def test_labels_tell_systems_apart() -> None:
    assert all(map(is_label, ("method", "teacher_smoothing", "kd_weight", "a label of mine")))
    story = (
        "system",
        "seed",
        "bleu",
        "updates",
        "exported",
        "ter_signature",
        "bleu_std",
        "schema",
        "speed_others_cores",
    )
    assert not any(map(is_label, story))
    assert COLUMNS["valid_accuracy"].title == "validation accuracy, %" and COLUMNS["chrf++"].better


def test_the_record_of_a_training_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run\.json .*expected its scores: .*result\.json"):
        read_results(write(tmp_path / "run.json", {"command": ["fairseq-train"]}))


@pytest.mark.parametrize("value", [{}, [], {"a": []}], ids=str)
@pytest.mark.parametrize("field", [name.removesuffix("?") for name in SHAPE])
def test_a_field_of_another_type_is_named(field: str, value: Any, tmp_path: Path) -> None:
    if field in ("command", "teacher_sha256") and value == []:
        return
    path = write(tmp_path / "results.json", [RECORD, RECORD | {field: value}])
    with pytest.raises(UserError, match=rf"results\.json: record 2: {field.replace('+', '.')}"):
        read_results(path)


@pytest.mark.parametrize("text", ["", "3", "null", "[1]", '"a"', "{", '{"system": 3}', '{"bleu": "20"}'])
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(SystemExit, match=r"result\.json"):
        main(["table", str(path)])
    with pytest.raises(UserError, match=r"result\.json"):
        read_records(tmp_path)


@pytest.mark.parametrize("seed", ["(", "1", 2.5, True])
def test_seeds_of_any_kind(seed: Any, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write(tmp_path / "result.json", RECORD | {"seed": seed, "system": f"a-s{seed}"})
    assert main(["table", str(path), "--over-seeds"]) == 0
    assert "a" in capsys.readouterr().out


@pytest.mark.parametrize(
    "speeds", [[], {"systems": 1}, {"systems": {"a": {}}}, {"systems": {"a": 3}, "machine": {}, "threads": 1}], ids=str
)
def test_speeds_of_another_type(speeds: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "speed.json", speeds)
    with pytest.raises(SystemExit, match=r"--speed .*speed\.json"):
        main(["table", str(write(tmp_path / "result.json", RECORD)), "--speed", str(path)])


def test_a_folder_of_a_run_is_not_its_record(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder: .*\*/result\.json"):
        read_results(tmp_path)
    path = write(tmp_path / "result.json", RECORD)
    with pytest.raises(UserError, match=f"is a folder: .*{path}"):
        read_results(tmp_path)
