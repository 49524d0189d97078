"""CTranslate2 folders of `translation_from_pretrained_bart` (mBART), against fairseq's own scores and translations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from multilingual import BY_TASK, batch, binarise_pairs, fairseq_generate, make_task, trained

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.teachers.checkpoint import read_checkpoint
from fairseq_lskd.teachers.model_tokens import Affixes, Chosen, choose_affixes

ctranslate2 = pytest.importorskip("ctranslate2")

from ctranslate2.converters import FairseqConverter  # noqa: E402  after the check for CTranslate2

from fairseq_lskd.sequences.decoding import DecodingOptions  # noqa: E402
from fairseq_lskd.sequences.engines.ctranslate2_engine import CTranslate2Engine  # noqa: E402
from fairseq_lskd.teachers.converted import ConvertedTeacher  # noqa: E402

BART = BY_TASK["translation_from_pretrained_bart"]
NONE = (None, None, None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return binarise_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def teacher(data: Path) -> Path:
    return trained(data.parent / "mbart.pt", data, *BART)


def convert(data: Path, teacher: Path, out: Path, bare: bool) -> Path:
    """Run what ct2-fairseq-converter runs, with or without --no_default_special_tokens."""
    languages = {"source_lang": "de", "target_lang": "en"}
    FairseqConverter(str(teacher), str(data), **languages, no_default_special_tokens=bare).convert(str(out))
    return out


@pytest.fixture(scope="module")
def model(data: Path, teacher: Path) -> Path:
    return convert(data, teacher, data.parent / "bare", True)


def test_its_distributions_are_those_of_fairseq(data: Path, teacher: Path, model: Path) -> None:
    theirs, ours = make_task(data, *BART), make_task(data, *BY_TASK["translation"])
    network = theirs.build_model(read_checkpoint(teacher)["cfg"]["model"]).eval()
    network.load_state_dict(torch.load(teacher, weights_only=False)["model"])
    marked, plain = batch(theirs), batch(ours)
    converted = ConvertedTeacher(model, ours, "float32", "cpu")
    assert converted.affixes == Affixes((), ("</s>", "[de]"), ("[en]",))
    found = converted.log_probs(plain["net_input"], torch.zeros(1))
    with torch.no_grad():
        whole = network(**marked["net_input"])[0][:, : found.size(1)].log_softmax(-1)
    there = plain["net_input"]["prev_output_tokens"].ne(1)
    # CTranslate2 has no <s> and no <pad> for the student; the rest is normalised over the student's types.
    kept = [index for index in range(len(ours.target_dictionary)) if index not in (0, 1)]
    order = [marked["id"].tolist().index(number) for number in plain["id"].tolist()]
    wanted = whole[order][..., kept].log_softmax(-1)
    shown = found[..., kept].log_softmax(-1)
    torch.testing.assert_close(shown[there], wanted[there], atol=1e-4, rtol=0)
    # and the engine's scores of a target, its end included
    engine = CTranslate2Engine(model, DecodingOptions(), "cpu", 1, (100, 100), converted.affixes)
    engine.configure(engine.default)
    words = [ours.source_dictionary[i] for i in plain["net_input"]["src_tokens"][0].tolist() if i > 2]
    target = [i for i in plain["target"][0].tolist() if i != 1]
    (scores,) = engine.log_probs([words], [[ours.target_dictionary[i] for i in target[:-1]]])
    np.testing.assert_allclose(scores, whole[order][0].gather(1, torch.tensor(target)[:, None])[:, 0], atol=1e-4)


def test_it_translates_as_fairseq_generate_does(data: Path, teacher: Path, model: Path, tmp_path: Path) -> None:
    search = ["--beam", "1", "--max-len-a", "0", "--max-len-b", "14"]
    wanted = fairseq_generate(data, teacher, *BART, *search)
    out = tmp_path / "o.jsonl"
    settings = ["--compute-type", "float32", "--workers", "1", "--max-tokens", "400", "--threads", "1"]
    words = ["--model", model, "-s", "de", "-t", "en", "--subset", "test", "--out", out, *search, *settings]
    main(["translate", str(data), *map(str, words)])
    found = [json.loads(line)["hypotheses"][0]["tokens"] for line in out.read_text().splitlines()]
    assert found == wanted and len(set(found)) > 3 and sum(text.endswith("END") for text in found) > 4


def test_the_usual_conversion_is_refused(data: Path, teacher: Path, tmp_path: Path) -> None:
    """It would start the decoder with </s>, and add </s> after the source's language."""
    usual = convert(data, teacher, tmp_path / "usual", False)
    with pytest.raises(UserError) as caught:
        choose_affixes(usual, "de", "en", NONE)
    said = str(caught.value)
    assert f"--model {usual}" in said and "ct2-fairseq-converter --no_default_special_tokens" in said
    assert "--source-prefix '[de]' --target-prefix '[en]'" in said
    # as that message says for the other task with these tokens
    chosen = choose_affixes(usual, "de", "en", ("[de]", None, "[en]"))
    assert chosen == Chosen(Affixes(("[de]",), (), ("[en]",)), None)
    # a vocabulary with such words, and without <mask>, has no language tokens
    vocabulary = usual / "shared_vocabulary.json"
    vocabulary.write_text(vocabulary.read_text().replace("<mask>", "mask"))
    assert choose_affixes(usual, "de", "en", NONE) == Chosen(Affixes(), None)


def test_a_decoder_without_a_start(model: Path, tmp_path: Path) -> None:
    """The start is the first token of --target-prefix. M2M-100's form begins with </s> before the language."""
    own = shutil.copytree(model, tmp_path / "own")
    vocabulary = own / "shared_vocabulary.json"
    found = vocabulary.read_text()
    for language in ("de", "en", "fr"):
        found = found.replace(f"[{language}]", f"__{language}__")
    vocabulary.write_text(found)
    affixes = Affixes(("__de__",), ("</s>",), ("</s>", "__en__"))
    assert choose_affixes(own, "de", "en", NONE) == Chosen(affixes, "de-en")
    with pytest.raises(UserError, match="--target-prefix"):
        CTranslate2Engine(own, DecodingOptions(), "cpu", 1, (100, 100), Affixes(source_suffix=("</s>",)))
