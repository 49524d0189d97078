"""Tests of the metrics against sacreBLEU."""

from __future__ import annotations

import pytest
import sacrebleu

from fairseq_lskd.errors import UserError
from fairseq_lskd.scoring import score_corpus
from fairseq_lskd.scoring.metrics import make_metric

REFERENCES = [
    "The cat sat quietly on the old red mat.",
    "Two dogs are running through the snow, aren't they?",
    "A man in a blue shirt is standing on a ladder.",
]
HYPOTHESES = [
    "The cat sat on the old red mat.",
    "Two dogs run through the snow, are they not?",
    "A man wearing a blue shirt is standing on a ladder cleaning a window.",
]


def test_scores_are_those_of_sacrebleu_to_the_last_digit_shown() -> None:
    found = score_corpus(HYPOTHESES, REFERENCES)
    bleu = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score
    chrf = sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES]).score
    assert (found["bleu"], found["chrf"]) == (round(bleu, 2), round(chrf, 2))
    # The scores are neither extreme nor equal.
    assert 20 < found["bleu"] < 80 and 20 < found["chrf"] < 80 and abs(found["bleu"] - found["chrf"]) > 1


def test_literal_scores() -> None:
    assert score_corpus(REFERENCES, REFERENCES)["bleu"] == 100 == score_corpus(REFERENCES, REFERENCES)["chrf"]
    # Precisions 7/8, 5/7, 3/6 and 2/5, no brevity penalty.
    found = score_corpus(["a b c d e x g h"], ["a b c d e f g h"])
    assert found["bleu"] == round(100 * (7 / 8 * 5 / 7 * 3 / 6 * 2 / 5) ** 0.25, 2) == 59.46


def test_lines_are_scored_as_one_corpus_in_their_order() -> None:
    found = score_corpus(HYPOTHESES, REFERENCES)["bleu"]
    assert score_corpus(HYPOTHESES[::-1], REFERENCES[::-1])["bleu"] == found
    assert score_corpus([*HYPOTHESES[1:], HYPOTHESES[0]], REFERENCES)["bleu"] < found / 5


def test_signatures_say_how_it_was_scored() -> None:
    found = score_corpus(HYPOTHESES, REFERENCES)
    version = f"version:{sacrebleu.__version__}"
    assert found["signature"] == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|{version}"
    assert found["chrf_signature"] == f"nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|{version}"


def test_another_number_of_lines_is_refused() -> None:
    with pytest.raises(UserError, match="2 hypotheses for 3 references"):
        score_corpus(HYPOTHESES[:2], REFERENCES)
    with pytest.raises(UserError, match="1,200 hypotheses for 1,100 references"):
        score_corpus(["a"] * 1200, ["a"] * 1100)


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(UserError, match="lines to score"):
        score_corpus([], [])


def test_several_references_are_scored_as_sacrebleu_does() -> None:
    more = ["On the old red mat sat the cat, quietly.", HYPOTHESES[1], "nothing like it"]
    found = score_corpus(HYPOTHESES, REFERENCES, more, metrics=("bleu", "chrf++", "ter"))
    assert found["bleu"] == round(sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES, more]).score, 2)
    assert found["bleu"] > score_corpus(HYPOTHESES, REFERENCES)["bleu"]
    assert found["ter"] == round(sacrebleu.corpus_ter(HYPOTHESES, [REFERENCES, more]).score, 2)
    assert found["chrf++"] == round(sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES, more], word_order=2).score, 2)
    assert found["signature"].startswith("nrefs:2|") and "|nw:2|" in found["chrf++_signature"]
    assert "tok:tercom" in found["ter_signature"] and "chrf" not in found
    with pytest.raises(UserError, match="3 hypotheses for 2 references"):
        score_corpus(HYPOTHESES, REFERENCES, more[:2])


def test_the_signature_has_the_tokeniser() -> None:
    metric = make_metric("bleu", tokenize="char", lowercase=True)
    metric.corpus_score(["A b"], [["a B"]])
    assert "tok:char" in str(metric.get_signature()) and "case:lc" in str(metric.get_signature())
    chinese = ["\u732b\u5750\u5728\u57ab\u5b50\u4e0a\u3002"]
    assert "|tok:zh|" in score_corpus(chinese, chinese)["signature"]  # by the references' script
    ter = score_corpus(chinese, ["\u732b\u7ad9\u5728\u57ab\u5b50\u4e0a\u3002"], metrics=("ter",))
    assert "asian:yes" in ter["ter_signature"] and ter["ter"] < 20  # one of seven characters differs


def test_a_failed_download_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("sacrebleu.metrics.BLEU", offline)
    with pytest.raises(UserError, match=r"--tokenize flores200.*no route to host"):
        make_metric("bleu", tokenize="flores200")
