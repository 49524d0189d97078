"""Tests of the benchmarks of `lskd translate` at a small size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import BENCHMARKS

pytest.importorskip("ctranslate2")
import translate_kills

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def teacher(bitext: Path) -> Path:
    from trained import trained_teacher

    return trained_teacher(bitext)


@pytest.fixture(scope="module")
def raw(bitext: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A SentencePiece model that splits text without spaces into the teacher's types (letters), and such text."""
    import sentencepiece

    folder = tmp_path_factory.mktemp("raw")
    texts = [folder / "train.de", folder / "train.en"]
    for text in texts:
        text.write_text((bitext.parent / text.name).read_text().replace(" ", ""))
    sentencepiece.SentencePieceTrainer.train(
        input=",".join(map(str, texts)),
        model_prefix=str(folder / "spm"),
        model_type="char",
        add_dummy_prefix=False,
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return [folder / "spm.model", *texts]


def run(script: str, *words: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(word) for word in (sys.executable, BENCHMARKS / script, *words)],
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_engines_are_compared_in_one_run(teacher: Path, raw: list[Path], tmp_path: Path) -> None:
    task = ["--task", "letters", teacher, *raw]
    done = run(
        "translate.py", *task, "--sentences", 20, "--rounds", 1, "--engines", "auto", "--json", tmp_path / "rows.json"
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["engine"], row["corpus"]) for row in rows] == [("fairseq-generate", "letters"), ("auto", "letters")]
    for row in rows:
        assert row["sentences_per_second_median"] > 0 and row["sentences"] == 20
        assert {
            "sentences_per_second_quartiles",
            "signature",
            "settings",
            "machine",
            "versions",
            "command",
        } <= row.keys()
    assert rows[0]["times_fairseq_generate"] == 1
    assert rows[0]["bleu"] == pytest.approx(rows[1]["bleu"], abs=0.1)
    assert "| letters  | fairseq-generate | " in done.stdout and rows[0]["signature"] in done.stdout


def test_a_run_is_killed_and_compared(bitext: Path, teacher: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.write_text((bitext.parent / "train.de").read_text() * 400)
    words = [corpus, "--teacher-path", teacher, "--cache-dir", tmp_path, "--window", 100]
    words += ["--compute-type", "float32", "--workers", 1, "--threads", 1, "--max-tokens", 100]
    done = run("translate_kills.py", "--kills", 2, "--seconds", 0.3, "--json", tmp_path / "rows.json", "--", *words)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row["identical"] is True and len(row["kills"]) == 2 and row["sentences"] == 24_000
    assert "| 24,000      | 2       |" in translate_kills.table([row])
