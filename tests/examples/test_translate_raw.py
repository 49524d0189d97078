"""Tests of wrong calls of the example that translates with an exported folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sentencepiece

pytest.importorskip("ctranslate2")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "translate_raw.py"


def refused(*words: str) -> str:
    done = subprocess.run([sys.executable, EXAMPLE, *words], input="a\n", capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("words", [[], ["one", "two", "three"]])
def test_it_needs_one_folder(words: list[str]) -> None:
    assert refused(*words).startswith("usage: python translate_raw.py DIR [PAIR] < text.de > text.en")


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (None, "translates one pair: "),
        (["de-en", "fr-en"], "translates de-en, fr-en: "),
    ],
)
def test_a_file_as_argument_is_answered_by_what_to_give(tmp_path: Path, pairs: list[str] | None, expected: str) -> None:
    (tmp_path / "text").write_text("a b c d\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(tmp_path / "sentencepiece"), vocab_size=9, minloglevel=2
    )
    record = {"max_positions": [9, 9]} | ({} if pairs is None else {"pairs": {pair: {} for pair in pairs}})
    (tmp_path / "export.json").write_text(json.dumps(record))
    said = refused(str(tmp_path), "my.de")
    assert expected in said and "< " in said


def test_it_needs_an_exported_folder(tmp_path: Path) -> None:
    said = refused(str(tmp_path))
    assert said.startswith(f"{tmp_path}: found no sentencepiece.model") and "`lskd export`" in said
