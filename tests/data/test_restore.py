"""Restoring text from translations in pieces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairseq_lskd.data.restore import join_bytes, restorer
from fairseq_lskd.errors import UserError


def encoded(folder: Path, **options: object) -> Path:
    record = {"options": {"source-lang": "en", "target-lang": "fr", **options}}
    (folder / "encode.json").write_text(json.dumps(record))
    return folder


def test_joined_pieces_are_text(tmp_path: Path) -> None:
    assert restorer(encoded(tmp_path))("l'eau <0xE2>") == "l'eau <0xE2>"


def test_bytes_become_characters(tmp_path: Path) -> None:
    assert restorer(encoded(tmp_path, **{"byte-fallback": True}))("a<0xE2><0x82><0xAC> b") == "a€ b"
    assert join_bytes("a<0xE2><0x82>b") == "a\ufffdb"


def test_tokens_of_moses_become_text(tmp_path: Path) -> None:
    restore = restorer(encoded(tmp_path, recipe="moses-bpe"))
    tokens = "L&apos; eau est @-@ elle chaude ( &amp; bonne ) , Jean ?"
    assert restore(tokens) == "L'eau est-elle chaude (& bonne), Jean ?"


def test_a_folder_without_pieces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--pieces .*: found no encode\.json there"):
        restorer(tmp_path)
    (tmp_path / "encode.json").write_text("{}")
    with pytest.raises(UserError, match=r"encode\.json: options is missing; expected what `lskd encode` wrote"):
        restorer(tmp_path)
