"""Translating with a teacher of several languages: its tokens are set, and are no part of what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from multilingual import MARKS, MULTI, binarise_pairs, fairseq_generate, trained

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.extras import is_installed

SEARCH = ["--beam", "3", "--max-len-a", "1", "--max-len-b", "4"]
FORMS = {"beside end marks": MARKS, "in place of end marks": [*MARKS, "--lang-tok-replacing-bos-eos"]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return binarise_pairs(tmp_path_factory.mktemp("pairs"))


def translate(data: Path, path: Path, out: Path, source: str, *flags: str) -> list[dict]:
    text = data.parent / f"test.{source}-en.{source}"
    # One batch of all, as fairseq-generate has them: a batch bounds the lengths of its translations.
    settings = ["--compute-type", "float32", "--workers", "1", "--max-tokens", "400", "--threads", "1"]
    words = ["--teacher-path", path, "--out", out, "-s", source, "-t", "en", *SEARCH, *settings, *flags]
    main(["translate", str(text), *map(str, words)])
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.mark.parametrize("form", list(FORMS))
def test_it_translates_as_fairseq_generate_does(data: Path, tmp_path: Path, form: str) -> None:
    flags = [*MULTI, *FORMS[form]]
    path = trained(data.parent / f"{form.split()[0]}.pt", data, *flags)
    for source in ("de", "fr"):
        wanted = fairseq_generate(data, path, *flags, "-s", source, "-t", "en", *SEARCH, "--nbest", "3")
        found = translate(data, path, tmp_path / f"{source}.jsonl", source, "--engine", "fairseq", "--nbest", "3")
        ours = [[each["tokens"] for each in record["hypotheses"]] for record in found]
        # In another order where they are close: fairseq scores the language token too.
        assert [text for each in ours for text in sorted(each)] == wanted and len(wanted) == 27
        assert len({best for best, *_ in ours}) > 3
        if form == "beside end marks" and is_installed("ctranslate2"):
            fast = translate(data, path, tmp_path / f"fast-{source}.jsonl", source, "--engine", "ctranslate2")
            best = [(record["hypotheses"][0]["tokens"], record["hypotheses"][0]["score"]) for record in fast]
            assert [tokens for tokens, _ in best] == [tokens for tokens, *_ in ours]
            scores = [record["hypotheses"][0]["score"] for record in found]
            assert [score for _, score in best] == pytest.approx(scores, abs=1e-4)


def test_what_one_pair_began_no_other_goes_on_with(data: Path, tmp_path: Path) -> None:
    """Where corpus and vocabulary are the same, the pair tells them apart."""
    path = trained(data.parent / "beside.pt", data, *MULTI, *MARKS)
    translate(data, path, tmp_path / "out.jsonl", "de", "--engine", "fairseq")
    same = data.parent / "test.fr-en.fr"
    same.write_text((data.parent / "test.de-en.de").read_text())
    with pytest.raises((UserError, SystemExit), match="pair"):
        translate(data, path, tmp_path / "out.jsonl", "fr", "--engine", "fairseq")
