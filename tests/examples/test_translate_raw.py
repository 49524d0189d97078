"""Tests of wrong calls of the example that translates with an exported folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ctranslate2")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "translate_raw.py"


def refused(*words: str) -> str:
    done = subprocess.run([sys.executable, EXAMPLE, *words], input="a\n", capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("words", [[], ["one", "two", "three"]])
def test_it_needs_one_folder(words: list[str]) -> None:
    assert refused(*words).startswith("usage: python translate_raw.py DIR [PAIR] < text.de > text.en")


def test_it_needs_an_exported_folder(tmp_path: Path) -> None:
    said = refused(str(tmp_path))
    assert said.startswith(f"{tmp_path}: found no sentencepiece.model") and "`lskd export`" in said
