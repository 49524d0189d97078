"""The teacher's translations of the validation sources as a set of their own."""

from __future__ import annotations

import filecmp
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import MODEL, TRAIN, make_task

from fairseq_lskd.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def lists(bitext: Path, split: str) -> list[dict[str, Any]]:
    """Two translations of each source: the words of the reference in reverse, and a worse one."""
    sides = (bitext.parent.joinpath(f"{split}.{language}").read_text().splitlines() for language in ("de", "en"))
    records = []
    for index, (source, target) in enumerate(zip(*sides, strict=True)):
        texts = ("A", " ".join(reversed(target.split())))
        hypotheses = [
            {"tokens": text, "text": text, "score": score, "length": 9}
            for text, score in zip(texts, (-2, -1), strict=True)
        ]
        records.append({"id": index, "source": source, "hypotheses": hypotheses})
    return records


def write(name: str, records: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(f"{json.dumps(record)}\n" for record in records))


@pytest.fixture
def valid(bitext: Path) -> list[dict[str, Any]]:
    write("train.jsonl", lists(bitext, "train"))
    records = lists(bitext, "valid")
    records[4] |= {"hypotheses": [], "skipped": "too long"}
    write("valid.jsonl", records)
    return records


def select(bitext: Path, *words: str) -> int:
    command = ["select", "train.jsonl", "-s", "de", "-t", "en", "--student-data", str(bitext), "--out", "out"]
    return main([*command, "--valid-translations", "valid.jsonl", *words])


def refused(bitext: Path) -> str:
    with pytest.raises(SystemExit) as caught:
        select(bitext)
    assert not Path("out").exists()
    return str(caught.value.code)


def test_the_best_translations_are_a_second_validation_set(
    bitext: Path, valid: list[dict[str, Any]], capsys: pytest.CaptureFixture
) -> None:
    assert select(bitext, "--filter-copies", "0.1") == 0
    said = capsys.readouterr().err
    assert "--valid-subset valid1,valid" in said and "--ignore-unused-valid-subsets" in said
    kept = [record for record in valid if record["hypotheses"]]
    assert Path("out/valid1.de").read_text().splitlines() == [record["source"] for record in kept]
    assert Path("out/valid1.en").read_text().splitlines() == [record["hypotheses"][1]["text"] for record in kept]

    task = make_task(Path("out/data-bin").resolve())
    task.load_dataset("valid1")
    dataset = task.dataset("valid1")
    assert len(dataset) == 8
    for index, record in enumerate(kept):
        example = dataset[index]
        assert task.source_dictionary.string(example["source"]) == record["source"]
        assert task.target_dictionary.string(example["target"]) == record["hypotheses"][1]["text"]
    for language in ("de", "en"):
        for kind in ("bin", "idx"):
            name = f"valid.de-en.{language}.{kind}"
            assert filecmp.cmp(bitext / name, Path("out/data-bin") / name, shallow=False)
    made = json.loads(Path("out/select.json").read_text())
    assert (made["valid1"]["sentences"], made["valid1"]["without a translation"]) == (8, 1)
    assert made["valid1"]["references"] == "valid, unchanged" and "--valid-translations" in made["inputs"]

    assert select(bitext, "--filter-copies", "0.1") == 0 and "up to date" in capsys.readouterr().err


def test_translations_of_other_sentences_are_refused(bitext: Path, valid: list[dict[str, Any]]) -> None:
    write("valid.jsonl", valid[:8])
    assert all(fact in refused(bitext) for fact in ("--valid-translations valid.jsonl", "8", "9"))
    valid[2]["source"], valid[3]["source"] = valid[3]["source"], valid[2]["source"]
    write("valid.jsonl", valid)
    assert "--valid-translations valid.jsonl, line 3" in refused(bitext)
    Path("valid.jsonl").unlink()
    assert "--valid-translations valid.jsonl: no such file" in refused(bitext)


def test_a_validation_set_is_needed(bitext: Path, valid: list[dict[str, Any]]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["select", "train.jsonl", "-s", "de", "-t", "en", "--out", "out", "--valid-translations", "valid.jsonl"])
    assert "--valid-translations" in str(caught.value.code) and "--student-data" in str(caught.value.code)


@pytest.mark.slow
def test_fairseq_train_picks_the_best_checkpoint_by_it(bitext: Path, valid: list[dict[str, Any]]) -> None:
    assert select(bitext) == 0
    plugin = str(Path(__file__).resolve().parents[2] / "fairseq_lskd")
    words = ["out/data-bin", *MODEL, *TRAIN, "--user-dir", plugin, "--criterion", "seq_kd", "--max-epoch", "2"]
    words += ["--sequence-weights", "out/train.weights.npz", "--save-dir", "run", "--log-format", "json"]
    command = [sys.executable, "-m", "fairseq_cli.train", *words]
    # fairseq takes a second validation set for a mistake if it is not told otherwise.
    done = subprocess.run([*command, "--valid-subset", "valid1,valid"], capture_output=True, text=True)
    assert done.returncode and "ignore-unused-valid-subsets" in done.stderr
    command += ["--valid-subset", "valid1,valid", "--ignore-unused-valid-subsets"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line[line.index("{") :]) for line in done.stdout.splitlines() if '"valid1_loss"' in line]
    assert len(said) == 2 and '"valid_loss"' in done.stdout
    assert float(said[-1]["valid1_best_loss"]) == min(float(each["valid1_loss"]) for each in said)
