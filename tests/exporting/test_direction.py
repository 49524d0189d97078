"""An exported folder and its checkpoint translate in one direction, and are refused for the other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fairseq_lskd.cli import main

pytest.importorskip("ctranslate2")

SETTINGS = ["--device", "cpu", "--compute-type", "float32", "--workers", "1", "--threads", "1", "--max-tokens", "400"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model(folders: dict[str, Path]) -> str:
    return str(folders["float32"])


def translate(corpus: Path, model: str, out: str, *flags: str) -> int:
    return main(["translate", str(corpus), "--model", model, "--out", out, *SETTINGS, *flags])


def refused(*words: str | Path) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*map(str, words)])
    return str(caught.value.code)


def test_languages_of_the_other_direction_are_refused(data: Path, model: str) -> None:
    wrong = ["-s", "en", "-t", "de"]
    for command in ("translate", "cache"):
        said = refused(command, data / "bin", "--model", model, "--out", "out", *wrong)
        assert f"--model {model} translates de -> en, expected en -> de" in said and not Path("out").exists()
    said = refused("translate", data / "bin", "--model", model, "--out", "out", "-t", "fr")
    assert "translates de -> en, expected de -> fr" in said


def test_data_of_the_other_direction(data: Path, model: str) -> None:
    """A cache of such data is refused; a translation takes their target side."""
    shutil.copytree(data / "bin", "bin")
    for file in Path("bin").glob("*.de-en.*"):
        file.rename(file.with_name(file.name.replace("de-en", "en-de")))
    said = refused("cache", "bin", "--model", model, "--out", "cache", "--cpu")
    assert "translates de -> en, expected en -> de (the languages of bin)" in said and not Path("cache").exists()
    assert main(["cache", "bin", "--model", model, "--out", "cache", "--cpu", "-s", "de", "-t", "en"]) == 0
    assert translate(Path("bin"), model, "a.jsonl", "--subset", "valid") == 0
    assert translate(data / "bin", model, "b.jsonl", "--subset", "valid") == 0
    assert Path("a.jsonl").read_bytes() == Path("b.jsonl").read_bytes()


def test_the_direction_is_recorded_and_checked_by_lskd_select(data: Path, model: str) -> None:
    assert translate(data / "bin", model, "nbest.jsonl", "--subset", "valid") == 0
    record = json.loads(Path("nbest.jsonl.manifest.json").read_text())
    assert record["translates"] == "de-en" and "pair" not in record["run"]
    said = refused("select", "nbest.jsonl", "-s", "en", "-t", "de", "--out", "kept")
    assert "nbest.jsonl: its teacher translates de-en, expected en-de" in said
    assert main(["select", "nbest.jsonl", "-s", "de", "-t", "en", "--out", "kept"]) == 0


@pytest.mark.parametrize("kind", ["--model", "--teacher-path"])
def test_text_in_the_target_language_is_warned_of(
    data: Path, model: str, checkpoint: Path, kind: str, capsys: pytest.CaptureFixture
) -> None:
    shutil.copyfile(data / "pieces" / "valid.de", "valid.en")
    teacher = model if kind == "--model" else str(checkpoint)
    words = [kind, teacher, *SETTINGS, "--engine", "auto"]
    assert main(["translate", "valid.en", *words, "--out", "warned.jsonl"]) == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: CORPUS")]
    assert "valid.en ends in .en" in warning and f"{teacher} translates de -> en: expected text in de" in warning
    assert main(["translate", str(data / "pieces" / "valid.de"), *words, "--out", "right.jsonl"]) == 0
    assert "warning: CORPUS" not in capsys.readouterr().err
