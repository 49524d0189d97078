"""Formats of translations, told apart by their first lines."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences.candidates import Candidates
from fairseq_lskd.sequences.formats import check_format, format_of

TEXTS = {
    "json": '{"id": 0, "source": "a", "hypotheses": []}\n',
    "fairseq": "2024 | INFO | loading\nS-1\t▁a\nH-1\t-0.5\tb\n",
    "moses": "0 ||| a b ||| F0= -1 ||| -1.5\n",
    "text": "A dog ||| runs.\nA cat\n",
}


@pytest.fixture(params=TEXTS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_format_is_recognised(kind: str, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text(TEXTS[kind])
    (tmp_path / "zipped.gz").write_bytes(gzip.compress(TEXTS[kind].encode()))
    assert format_of(tmp_path / "plain") == format_of(tmp_path / "zipped.gz") == kind


def test_what_is_not_a_list_of_lskd_translate_is_told_its_format(kind: str, tmp_path: Path) -> None:
    (path := tmp_path / "nbest").write_text(TEXTS[kind])
    if kind == "json":
        check_format(path, "json", None)
        return
    with pytest.raises(UserError, match=f"Give --format {kind} --source FILE") as caught:
        check_format(path, "json", None)
    assert TEXTS[kind][:10] in str(caught.value)
    with pytest.raises(UserError, match=rf"Give --format {kind}(\.|$)"):
        Candidates(path, source=path)
    check_format(path, kind, path)


def test_lists_that_are_read_as_text(tmp_path: Path) -> None:
    (path := tmp_path / "nbest").write_text(TEXTS["json"])
    with pytest.raises(UserError, match="nbest has n-best lists of `lskd translate`, not text"):
        check_format(path, "text", path)


@pytest.mark.parametrize("text", ['{"id', "[-0.5, -1]\n"])
def test_other_json_is_left_to_the_reader(text: str, tmp_path: Path) -> None:
    (path := tmp_path / "nbest").write_text(text)
    check_format(path, "json", None)
