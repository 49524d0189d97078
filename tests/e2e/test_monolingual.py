"""docs/monolingual.md, on tiny text: what has no references is cleaned, encoded, translated, selected, learnt from."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
from prepared import prepare
from tiny import batch, make_criterion, make_model, make_task
from trained import trained_teacher

from fairseq_lskd.cli import main
from fairseq_lskd.sequences import SequenceWeights

SETTINGS = ["--device", "cpu", "--compute-type", "float32", "--workers", "1", "--threads", "1", "--max-tokens", "200"]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("mine"))


@pytest.fixture(autouse=True)
def mono(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sentences, one of them twice and an empty one, gzipped in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    chance = random.Random(3)
    lines = sorted({" ".join(chance.choices("abcdefghij", k=7)) for _ in range(40)})
    Path("text").mkdir()
    with gzip.open("text/train.de.gz", "wt", encoding="utf-8") as out:
        out.writelines(f"{line}\n" for line in [*lines, f" {lines[0]}", ""])
    return lines


def lines_of(path: str | Path) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()


def refused(*words: object) -> str:
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    return str(caught.value.code)


def run(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def encoded(mine: Path) -> None:
    # py3langid takes these letters for many languages.
    Path("own.toml").write_text(
        'title = "Mine"\nlicence = "mine"\n[[train]]\nplain = "train"\n[[valid]]\nplain = "valid"\n[[test]]\n'
        'plain = "test"\n[clean]\nspaces = true\nratio = 3.0\nduplicates = "pair"\n'
    )
    run("data", "prepare", "own.toml", "--raw", "text", "-s", "de", "--out", "mono", "--workers", 1)
    words = ["--raw", "mono/raw", "--out", "mono/pieces", "-s", "de", "--workers", 1]
    run("encode", *words, "--spm-model", mine / "pieces/spm.model")


def test_the_whole_way(mine: Path, mono: list[str], capsys: pytest.CaptureFixture) -> None:
    encoded(mine)
    assert lines_of("mono/raw/train.de") == mono
    assert json.loads(Path("mono/raw/prepare.json").read_text())["dropped"] == {"train": {"empty": 1, "duplicate": 1}}
    encoded(mine)
    assert capsys.readouterr().out.count("up to date") == 2
    run("data", "verify", "mono")

    teacher = trained_teacher(mine / "bin")
    words = ["mono/pieces/train.de", "--teacher-path", teacher, "--out", "mono/nbest.jsonl", *SETTINGS]
    run("translate", *words, "--max-len-a", "1.2", "--max-len-b", "10")
    assert len(lines_of("mono/nbest.jsonl")) == len(mono)
    select = ["-s", "de", "-t", "en", "--student-data", mine / "bin"]
    run("select", "mono/nbest.jsonl", *select, "--out", "mono/selected")
    assert lines_of("mono/selected/train.de") == lines_of("mono/pieces/train.de")

    pieces = mine / "pieces"
    words = [pieces / "train.en", "--format", "text", "--source", pieces / "train.de", "-s", "de", "-t", "en"]
    run("select", *words, "--references", pieces / "train.en", "--replace-by-references", 1, "--out", "references")
    run("select", "mono/nbest.jsonl", *select, "--add", "references", "--out", "mixed")
    assert lines_of("mixed/train.en") == lines_of("mono/selected/train.en") + lines_of(pieces / "train.en")
    weights = SequenceWeights.load("mixed/train.weights.npz")
    assert weights.weight.tolist() == [1.0] * (len(mono) + 60)
    assert weights.reference.tolist() == [0.0] * len(mono) + [1.0] * 60
    added = json.loads(Path("mixed/select.json").read_text())["added"]
    assert added == {"pairs": {"references": 60}, "teachers": []}
    assert "60 pairs of references" in Path("mixed/report.md").read_text()

    for folder, sentences in (("mono/selected", len(mono)), ("mixed", len(mono) + 60)):
        task = make_task(Path(folder, "data-bin"))
        assert len(task.dataset("train")) == sentences and len(task.dataset("valid")) == 9
        criterion = make_criterion(task, "seq_kd", sequence_weights=f"{folder}/train.weights.npz").train()
        loss, size, _ = criterion(make_model(task), batch(task, range(sentences)))
        loss.backward()
        assert size > 0 and loss.isfinite()


def test_pieces_of_another_model_go_no_further(mine: Path) -> None:
    encoded(mine)
    words = ["--raw", mine / "raw", "--out", "other", "-s", "de", "-t", "en", "--vocab-size", 30, "--workers", 1]
    run("encode", *words)
    run("encode", "--raw", "mono/raw", "--out", "pieces", "-s", "de", "--spm-model", "other/spm.model", "--workers", 1)
    teacher = trained_teacher(mine / "bin")
    said = refused("translate", "pieces/train.de", "--teacher-path", teacher, "--out", "nbest.jsonl", *SETTINGS)
    assert "another vocabulary than the teacher" in said and not Path("nbest.jsonl").exists()


def test_what_one_language_cannot_be_used_for_is_named_and_leaves_nothing(mine: Path, mono: list[str]) -> None:
    assert "-t is missing" in refused("encode", "--raw", "text", "--out", "out", "-s", "de", "--vocab-size", 40)
    assert "-t is missing" in refused("data", "prepare", "own", "-s", "de", "--out", "out")
    assert "-s is missing" in refused("data", "prepare", "own", "--raw", "text", "-t", "de", "--out", "out")
    assert "train.fr" in refused("data", "prepare", "own", "--raw", "text", "-s", "fr", "--out", "out")
    assert "expected both -s and -t" in refused(
        "data", "prepare", "multi30k", "--raw", "text", "-s", "de", "--out", "out"
    )
    words = ["text/train.de.gz", "--format", "text", "--source", "text/train.de.gz", "-s", "de", "-t", "en"]
    said = refused("select", *words, "--add", "none", "--out", "out")
    assert "--add none" in said and "no such file" in said
    assert not Path("out").exists()
