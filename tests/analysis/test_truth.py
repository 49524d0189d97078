"""Tests of the divergence from a known truth."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import torch

from fairseq_lskd.analysis.truth import change, divergence, read_log_probs, section
from fairseq_lskd.data.generated import write_bitext
from fairseq_lskd.data.grammar import Grammar
from fairseq_lskd.errors import UserError
from fairseq_lskd.scoring.validation import divergence_from_truth

TOKENS = torch.tensor([3, 1])


def test_distance_and_change_by_hand() -> None:
    truth, model = torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -4.5])
    found = divergence(truth, model, TOKENS)
    assert found.per_sentence.value == 1.5 and found.per_token.value == 3 / 4
    assert (found.per_sentence.low, found.per_sentence.high) == (0.5, 2.5)  # a resample may have one sentence twice
    more = change(truth, model, torch.tensor([-2.5, -5.5]), TOKENS)
    assert more.per_sentence.value == 1 and more.per_token.value == 0.5 and more.share.value == pytest.approx(2 / 3)
    assert more.verdict == "added" and more.per_sentence.low == more.per_sentence.high == 1
    assert change(truth, model, model, TOKENS).verdict == "undecided"
    assert change(truth, model, model + 0.1, TOKENS).verdict == "removed"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    grammar = Grammar(seed=1, nouns=5, verbs=4, adjectives=3, adverbs=2, prepositions=2)
    folder = tmp_path_factory.mktemp("generated") / "raw"
    write_bitext(grammar, folder, train=5, valid=400, test=5)
    return folder


def test_the_exact_divergence_is_in_the_interval(generated: Path) -> None:
    """The model mixes the truth with a uniform distribution over translations, so that its exact KL is a sum."""
    grammar = Grammar.from_json(generated / "grammar.json")
    sources = (generated / "valid.xx").read_text().splitlines()
    targets = (generated / "valid.yy").read_text().splitlines()
    truth = read_log_probs(generated, "valid")
    exact, log_probs, kept = [], [], []
    for i, (source, target) in enumerate(zip(sources, targets, strict=True)):
        if source.count(" ") > 9:
            continue
        translations = grammar.translations(source)
        mixed = {each: 0.7 * p + 0.3 / len(translations) for each, p in translations.items()}
        exact.append(math.fsum(p * math.log(p / mixed[each]) for each, p in translations.items()))
        log_probs.append(math.log(mixed[target]))
        kept.append(i)
    assert len(kept) > 100
    found = divergence(truth[kept], torch.tensor(log_probs), torch.ones(len(kept)))
    wanted = math.fsum(exact) / len(exact)
    assert wanted > 0 and found.per_sentence.low < wanted < found.per_sentence.high


def test_the_divergence_equals_that_in_a_record(generated: Path, tmp_path: Path) -> None:
    targets = (generated / "valid.yy").read_text().splitlines()
    (tmp_path / "pieces").write_text("\n".join(targets) + "\n")
    tokens = torch.tensor([line.count(" ") + 2 for line in targets])
    model = -1.3 * tokens.double()
    found = divergence(read_log_probs(generated, "valid"), model, tokens)
    bits = (-model.sum() / tokens.sum() / math.log(2)).item()
    wanted = divergence_from_truth(bits, tmp_path / "pieces", generated / "truth.json")
    assert found.per_sentence.value == pytest.approx(wanted, abs=1e-5)


def test_models_are_compared_sentence_by_sentence() -> None:
    chance = random.Random(1)
    truth = torch.tensor([-5 - chance.random() for _ in range(200)])
    plain = truth - torch.rand(200) * 2
    models = {"teacher-0.0": plain, "teacher-0.1": plain - 0.2 - 0.1 * torch.rand(200)}
    found = section(models, torch.full((200,), 10), truth, [("teacher-0.0", "teacher-0.1")])
    assert found.words[0].startswith("teacher-0.0 is nearest to the truth")
    assert "Smoothing increased the divergence" in found.words[1]
    assert "(teacher-0.1 compared with teacher-0.0): +0.25" in found.words[1]
    kl, changes = found.tables
    assert kl.rows[1][1] - kl.rows[0][1] == pytest.approx(changes.rows[0][2], abs=2e-4)
    assert changes.rows[0][-1] == "added" and len(kl.columns) == len(kl.rows[0])
    assert len(changes.columns) == len(changes.rows[0])
    # The paired difference has a much smaller interval than either divergence.
    assert changes.rows[0][4] - changes.rows[0][3] < 0.2 * (kl.rows[0][3] - kl.rows[0][2])
    assert len(section(models, torch.full((200,), 10), truth).tables) == 1


def test_missing_invalid_and_other_truths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"truth\.valid\.tsv: no such file; expected .*`lskd generate`"):
        read_log_probs(tmp_path, "valid")
    for text in ("words\n", "log_prob\tentropy\nx\t1\n", "entropy\n1\n"):
        (tmp_path / "truth.valid.tsv").write_text(text)
        with pytest.raises(UserError, match=r"truth\.valid\.tsv: expected"):
            read_log_probs(tmp_path, "valid")
    truth = torch.zeros(2)
    with pytest.raises(UserError) as caught:
        section({"a": torch.zeros(3), "b": torch.tensor([0, math.nan])}, TOKENS, truth)
    assert "a: found 3 sentences, expected 2" in str(caught.value)
    assert "b: the log-probability of sentence 2 is nan" in str(caught.value)
    with pytest.raises(UserError, match="expected models"):
        section({}, TOKENS, truth)
