"""Translating with a multilingual teacher: language tokens are forced, and are not part of the translation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from multilingual import BY_TASK, MARKS, MODELS, MULTI, binarise_pairs, fairseq_generate, trained

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.extras import is_installed

SEARCH = ["--beam", "3", "--max-len-a", "1", "--max-len-b", "4"]
FORMS = {"beside eos": MARKS, "replacing eos": [*MARKS, "--lang-tok-replacing-bos-eos"]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return binarise_pairs(tmp_path_factory.mktemp("pairs"))


def translate(data: Path, path: Path, out: Path, source: str, *flags: str) -> list[dict]:
    text = data.parent / f"test.{source}-en.{source}"
    # A single batch, as in fairseq-generate, because the maximum length of a translation depends on its batch.
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
        # The order may differ if scores are close, because fairseq also scores the language token.
        assert [text for each in ours for text in sorted(each)] == wanted and len(wanted) == 27
        assert len({best for best, *_ in ours}) > 3
        if is_installed("ctranslate2"):
            fast = translate(data, path, tmp_path / f"fast-{source}.jsonl", source, "--engine", "ctranslate2")
            best = [(record["hypotheses"][0]["tokens"], record["hypotheses"][0]["score"]) for record in fast]
            assert [tokens for tokens, _ in best] == [tokens for tokens, *_ in ours]
            scores = [record["hypotheses"][0]["score"] for record in found]
            assert [score for _, score in best] == pytest.approx(scores, abs=1e-4)


def test_generated_language_tokens_are_no_part_of_a_translation(data: Path, tmp_path: Path) -> None:
    """A weak model generates them. Here, a model generates __fr__ wherever another generates END."""
    path = trained(data.parent / "beside.pt", data, *MULTI, *MARKS)
    usual = translate(data, path, tmp_path / "usual.jsonl", "de", "--engine", "fairseq")
    state = torch.load(path, weights_only=False)
    types = [line.split()[0] for line in (data / "dict.en.txt").read_text().splitlines()]
    one, other = 4 + types.index("END"), 4 + len(types) + 2  # __de__, __en__, __fr__
    for name, weights in state["model"].items():
        if "embed_tokens" in name or "output_projection" in name:
            weights[[one, other]] = weights[[other, one]]
    torch.save(state, tmp_path / "weak.pt")
    wanted = [" ".join(each["hypotheses"][0]["tokens"].replace("END", "").split()) for each in usual]
    assert wanted != [each["hypotheses"][0]["tokens"] for each in usual]
    for engine in ("fairseq", *(["ctranslate2"] if is_installed("ctranslate2") else [])):
        found = translate(
            data, tmp_path / "weak.pt", tmp_path / f"{engine}.jsonl", "de", "--engine", engine, "--token-scores"
        )
        for record, before, tokens in zip(found, usual, wanted, strict=True):
            (hypothesis,), (same,) = record["hypotheses"], before["hypotheses"]
            assert hypothesis["tokens"] == hypothesis["text"] == tokens
            assert (hypothesis["length"], hypothesis["score"]) == (
                same["length"],
                pytest.approx(same["score"], abs=1e-4),
            )
            assert len(hypothesis["token_scores"]) == len(tokens.split()) + 1


@pytest.mark.parametrize("marks", [[], MARKS], ids=["without tokens", "with tokens"])
def test_a_model_with_a_part_for_each_pair(data: Path, tmp_path: Path, marks: list[str]) -> None:
    flags = [*BY_TASK["multilingual_translation"], *marks]
    path = trained(tmp_path / "t.pt", data, *flags, arch=MODELS["multilingual_translation"])
    engines = ["fairseq", *(["ctranslate2"] if is_installed("ctranslate2") else [])]
    for source in ("de", "fr"):
        # Greedy, and with a bound of the length that does not depend on the batch, as that of fairseq-generate does.
        search = ["--beam", "1", "--max-len-a", "0", "--max-len-b", "14"]
        wanted = fairseq_generate(data, path, *flags, "-s", source, "-t", "en", *search)
        assert len(wanted) == 9
        for engine in engines:
            found = translate(data, path, tmp_path / f"{source}-{engine}.jsonl", source, *search, "--engine", engine)
            assert [record["hypotheses"][0]["tokens"] for record in found] == wanted
    with pytest.raises(SystemExit, match="not trained on en-de"):
        main(
            ["translate", str(data), "--teacher-path", str(path), "-s", "en", "-t", "de", "--out", str(tmp_path / "o")]
        )


def test_a_run_of_one_language_pair_is_not_resumed_with_another(data: Path, tmp_path: Path) -> None:
    """Corpus and vocabulary are the same, so only the pair differs."""
    path = trained(data.parent / "beside.pt", data, *MULTI, *MARKS)
    translate(data, path, tmp_path / "out.jsonl", "de", "--engine", "fairseq")
    same = data.parent / "test.fr-en.fr"
    same.write_text((data.parent / "test.de-en.de").read_text())
    with pytest.raises((UserError, SystemExit), match="pair"):
        translate(data, path, tmp_path / "out.jsonl", "fr", "--engine", "fairseq")
