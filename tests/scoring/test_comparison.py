"""Tests of `lskd score` with files: formats, significance tests, seeds and errors."""

from __future__ import annotations

import json
import random
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest

from fairseq_lskd.cli import main
from fairseq_lskd.data import writing_systems
from fairseq_lskd.scoring.comparison_table import tables
from fairseq_lskd.scoring.systems import parse

WORDS = ["the", "cat", "sat", "on", "an", "old", "red", "mat", "while", "two", "dogs", "ran", "through", "snow"]


def text(seed: int, noise: float = 0.0, lines: int = 60) -> list[str]:
    """Return the same sentences for every seed, with a share `noise` of the words left out."""
    draw, drop = random.Random(7), random.Random(seed)
    sentences = [[draw.choice(WORDS) for _ in range(10)] for _ in range(lines)]
    return [" ".join(w for w in words if drop.random() >= noise) + "." for words in sentences]


REFERENCE = text(0)


def write(name: str, lines: list[str]) -> list[str]:
    Path(name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return lines


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("ref", REFERENCE)
    for seed in (1, 2, 3):
        write(f"good.{seed}", text(seed, 0.1))
        write(f"bad.{seed}", text(seed + 10, 0.3))


def score(*words: str, out: str = "scores.json") -> dict[str, Any]:
    assert main(["score", *words, "--out", out]) == 0
    return json.loads(Path(out).read_text(encoding="utf-8"))


def refused(*words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["score", *words, "--out", "refused.json"])
    assert not Path("refused.json").exists()
    return str(caught.value.code)


def test_all_metrics_are_those_of_sacrebleu() -> None:
    found = score("good.1", "b=bad.1", "-r", "ref")
    for row, lines in zip(found["systems"], (text(1, 0.1), text(11, 0.3)), strict=True):
        assert row["bleu"] == round(sacrebleu.corpus_bleu(lines, [REFERENCE]).score, 2)
        assert row["chrf"] == round(sacrebleu.corpus_chrf(lines, [REFERENCE]).score, 2)
        assert row["chrf++"] == round(sacrebleu.corpus_chrf(lines, [REFERENCE], word_order=2).score, 2)
        assert row["ter"] == round(sacrebleu.corpus_ter(lines, [REFERENCE]).score, 2)
    assert [row["system"] for row in found["systems"]] == ["good.1", "b"]
    assert list(found["signatures"]) == ["bleu", "chrf", "chrf++", "ter"] and found["over_seeds"] == []


def test_all_formats_of_the_same_translations_score_the_same() -> None:
    lines = text(1, 0.1)
    order = random.Random(1).sample(range(60), 60)
    pieces = ["▁" + line.replace(" ", " ▁").replace(".", " .") for line in lines]
    generated = ["loading", *(f"S-{i}\tx\nH-{i}\t-0.1\t{lines[i]}\nD-{i}\t-0.1\t{lines[i]}" for i in order)]
    write("fairseq", [*generated, "Generate test with beam=5: BLEU4 = 1"])
    write("pieces", pieces)
    records = [
        {"id": i, "source": "x", "hypotheses": [{"tokens": "▁x", "text": line, "score": -0.1, "length": 2}]}
        for i, line in enumerate(lines)
    ]
    write("nbest.jsonl", [json.dumps(record) for record in records])
    bleu = ["-m", "bleu", "-r", "ref"]
    rows = score("good.1", "fairseq", "nbest.jsonl", *bleu)["systems"]
    assert len({row["bleu"] for row in rows}) == 1
    assert score("pieces", "--remove-bpe", "sentencepiece", *bleu)["systems"][0]["bleu"] == rows[0]["bleu"]
    assert "pieces is tokenised: expected plain text, found 60 lines" in refused("pieces", *bleu)
    write("shard.jsonl", [json.dumps(record) for record in records[5:]])
    assert "shard.jsonl begins with sentence 5, expected sentence 0" in refused("shard.jsonl", *bleu)
    records[3] = {"id": 3, "source": "x", "skipped": "too long", "hypotheses": []}
    write("skipped.jsonl", [json.dumps(record) for record in records])
    message = refused("skipped.jsonl", *bleu)
    assert "1 line (4) without a translation" in message and "--allow-empty" in message
    write("cut", generated)
    assert "cut is incomplete" in refused("cut", *bleu)


@pytest.mark.parametrize("word", ["<unk>", "<<unk>>", "<UNK>", "\u2047"])
def test_unknown_words_are_refused(word: str, capsys: pytest.CaptureFixture) -> None:
    lines = text(1, 0.1)
    write("lost", [f"a {word} {lines[0]}", *lines[1:]])
    said = refused("lost", "-r", "ref", "-m", "bleu")
    assert "lost: 1 line (1) of 60 with" in said and "--allow-unknown" in said
    assert score("lost", "-r", "ref", "-m", "bleu", "--allow-unknown")["systems"][0]["bleu"] > 0
    assert "warning: lost: 1 line (1) of 60 with" in capsys.readouterr().err


def test_the_references_themselves_give_a_warning(capsys: pytest.CaptureFixture) -> None:
    assert score("ref", "-r", "ref", "-m", "bleu")["systems"][0]["bleu"] == 100
    assert "warning: ref is the same text as ref" in capsys.readouterr().err
    score("good.1", "-r", "ref", "-m", "bleu")
    assert "same text" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["bs", "ar"])
def test_a_paired_test_is_that_of_sacrebleu(kind: str, capsys: pytest.CaptureFixture) -> None:
    words = ["good=good.1", "bad=bad.1", "-r", "ref", "--baseline", "bad", "--paired", kind, "--samples", "200"]
    found = score(*words, "-m", "bleu", "chrf")
    systems = [("bad", text(11, 0.3)), ("good", text(1, 0.1))]
    signature, expected = PairedTest(systems, {"b": BLEU()}, [REFERENCE], kind, 200)()
    good, bad = found["systems"]
    assert good["bleu_p"] == round(expected["BLEU"][1].p_value, 4) < 0.05 and "bleu_p" not in bad
    assert found["signatures"]["bleu"] == str(signature["BLEU"]) and f"|{kind}:200|" in found["signatures"]["bleu"]
    assert ("bleu_ci" in good) == (kind == "bs")
    said = capsys.readouterr().out
    assert f"(p = {good['bleu_p']:.3f}*)" in said and "against bad; *: p < 0.05" in said


@pytest.mark.parametrize(
    ("p", "cell"), [(0.0, "(p < 0.001*)"), (0.0009, "(p < 0.001*)"), (0.001, "(p = 0.001*)"), (0.2, "(p = 0.200)")]
)
def test_small_p_values_are_not_shown_as_zero(p: float, cell: str) -> None:
    row = {"system": "good", "bleu": 20.0, "bleu_p": p}
    result = {"systems": [row], "signatures": {"bleu": "x"}, "test": {"kind": "ar", "baseline": "bad"}}
    assert cell in tables(result, "github")


def test_equal_outputs_have_p_1() -> None:
    write("copy", text(1, 0.1))
    found = score("a=good.1", "b=copy", "-r", "ref", "--baseline", "a", "-m", "bleu", "--samples", "100")
    assert found["systems"][1]["bleu_p"] == 1.0


def test_seeds_are_compared_in_pairs_and_averaged(capsys: pytest.CaptureFixture) -> None:
    words = [f"{name}={name}.{seed}" for name in ("bad", "good") for seed in (1, 2, 3)]
    of = ["-r", "ref", "--baseline", "bad", "-m", "bleu", "--samples", "100"]
    found = score(*words, *of)
    values = [row["bleu"] for row in found["systems"]]
    mean = sum(values[3:]) / 3
    std = (sum((value - mean) ** 2 for value in values[3:]) / 2) ** 0.5
    good = found["over_seeds"][1]
    assert (good["system"], good["seeds"]) == ("good", 3)
    assert good["bleu"]["mean"] == pytest.approx(mean) and good["bleu"]["std"] == pytest.approx(std)
    alone = score("bad=bad.2", "good=good.2", *of)
    assert alone["systems"][1]["bleu_p"] == found["systems"][4]["bleu_p"]
    said = capsys.readouterr().out
    assert f"{mean:.2f} +- {std:.2f} [" in said and "Student's t" in said
    message = refused(*words[:5], *of)
    for fact in ("--baseline bad has 3 files", "good has 2", "same number of files"):
        assert fact in message


@pytest.mark.parametrize(
    ("style", "shown"), [("markdown", "| good.1"), ("latex", r"\toprule"), ("json", '"signatures": {')]
)
def test_each_style_shows_scores_and_signature(style: str, shown: str, capsys: pytest.CaptureFixture) -> None:
    found = score("good.1", "-r", "ref", "--style", style)
    said = capsys.readouterr().out
    signature = found["signatures"]["bleu"]
    assert shown in said and (signature.replace("|", r"\textbar{}") if style == "latex" else signature) in said
    if style == "json":
        assert json.loads(said) == found


def test_a_hypothesis_equal_to_any_reference_scores_100() -> None:
    write("other", text(1, 0.1))
    found = score("good.1", "-r", "ref", "other", "-m", "bleu")
    assert found["systems"][0]["bleu"] == 100 and found["signatures"]["bleu"].startswith("nrefs:2|")


def test_all_references_count_in_significance_tests() -> None:
    """The p-values are those of sacreBLEU with both references."""
    write("other", text(11, 0.3))
    references = [REFERENCE, text(11, 0.3)]
    found = score(
        "good.1", "bad.1", "-r", "ref", "other", "-m", "bleu", "chrf", "--baseline", "good.1", "--samples", "99"
    )
    named = [("good.1", text(1, 0.1)), ("bad.1", text(11, 0.3))]
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        signed, scores = PairedTest(named, {name: metric}, references, "ar", 99)()
        (title,) = (key for key in scores if key != "System")
        assert found["systems"][1][f"{name}_p"] == pytest.approx(scores[title][1].p_value, abs=1e-4)
        assert found["systems"][1][name] == 100 and found["signatures"][name].startswith("nrefs:2|")
        assert found["signatures"][name] == str(signed[title])
    assert found["systems"][0]["bleu"] > score("good.1", "-r", "other", "-m", "bleu")["systems"][0]["bleu"]


def test_all_references_are_compared_with_the_training_text() -> None:
    write("other", text(1, 0.1))
    write("train", text(1, 0.1)[:2])
    said = refused("good.1", "-r", "ref", "other", "--train", "train")
    assert "other: 2 lines (1, 2) of 60 occur in the training text" in said and "ref:" not in said


def test_a_test_set_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from sacrebleu.dataset import DATASETS

    write("source", ["x"] * 60)
    monkeypatch.setattr(DATASETS["wmt14"], "get_source_file", lambda pair: "source")
    monkeypatch.setattr(DATASETS["wmt14"], "get_reference_files", lambda pair: ["ref"])
    found = score("good.1", "-t", "wmt14", "-l", "en-de", "-m", "bleu", "chrf", "ter")
    assert found["systems"][0]["bleu"] == score("good.1", "-r", "ref")["systems"][0]["bleu"]
    assert all("|test:wmt14|lang:en-de|case:" in signature for signature in found["signatures"].values())
    assert found["references"] == ["wmt14"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected files to score"),
        (["good.1"], "give either --references or -t"),
        (["good.1", "-r", "ref", "-t", "wmt14"], "give either --references or -t"),
        (["good.1", "-t", "wmt1"], "-t wmt1: sacreBLEU has no such test set; it has wmt08"),
        (["good.1", "-t", "wmt14"], "-l is missing: expected one of the language pairs of wmt14: cs-en, de-en"),
        (["good.1", "-t", "wmt14", "-l", "en-zh"], "(en-zh is in "),
        (["good.1", "-r", "ref", "-l", "de"], "-l de: expected S-T"),
        (["good.1", "-r", "none"], "none"),
        (["none", "-r", "ref"], "none"),
        (["good.1", "good.1", "-r", "ref"], "good.1: given twice"),
        (["a=", "-r", "ref"], "a=: expected FILE or NAME=FILE"),
        (["good.1", "-r", "ref", "--baseline", "x"], "--baseline x: expected one of good.1"),
        (["good.1", "-r", "ref", "--baseline", "good.1"], "--baseline good.1: expected another system"),
        (["good.1", "-r", "ref", "--paired", "bs"], "--paired needs --baseline"),
        (["good.1", "-r", "ref", "--samples", "0"], "--samples 0: expected 1 or more"),
        (["good.1", "-r", "ref", "--samples", "9"], "--samples needs --baseline"),
        (["good.1", "-r", "ref", "--style", "fancy"], "--style fancy: expected markdown, json, or one of"),
        (["good.1", "-r", "ref", "--tokenize", "x"], "--tokenize x: expected one of none, zh, 13a"),
        (["good.1", "-r", "ref", "-m", "comet"], "--metrics comet needs --source"),
        (["good.1", "-t", "wmt14", "-l", "en-de", "--source", "ref"], "-t has its own source: leave out --source"),
        (["good.1", "-r", "ref", "--train", "."], "--train .: found no pieces/encode.json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes_are_named(words: list[str], message: str) -> None:
    said = refused(*words)
    assert said.startswith("lskd score: error: ") and message in said


def test_lines_that_do_not_match_are_refused() -> None:
    write("short", text(1)[:59])
    assert "short: found 59 hypotheses for 60 references" in refused("short", "-r", "ref")
    assert "ref has 60 lines, short has 59 lines: expected" in refused("good.1", "-r", "ref", "ref", "short")


def test_all_problems_are_listed_and_each_can_be_allowed(capsys: pytest.CaptureFixture) -> None:
    write("wrong", ["", "a .", "b .", *["c ."] * 57])
    write("train", REFERENCE[:9])
    said = refused("wrong", "-r", "ref", "--train", "train")
    assert "59 lines" in said and "1 line (1) without a translation" in said
    assert "9 lines (1, 2, 3, 4, 5, …) of 60 occur in the training text" in said
    flags = ["--allow-tokenised", "--allow-empty", "--allow-overlap"]
    score("wrong", "-r", "ref", "--train", "train", *flags)
    said = capsys.readouterr().err
    assert said.count("warning: ") == 4 and "57 of 60 translations are the same, 'c .'" in said


def test_translations_of_a_model_that_has_learnt_nothing(capsys: pytest.CaptureFixture) -> None:
    write("loops", [*["cat " * 9 + "sat" for _ in range(7)], *REFERENCE[7:]])
    score("good.1", "-r", "ref")
    assert "warning" not in capsys.readouterr().err
    score("loops", "-r", "ref")
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: loops: ")]
    assert "7 lines (1, 2, 3, 4, 5, …) of 60" in said and "'cat cat" in said


def test_spaces_belong_to_a_generated_text(capsys: pytest.CaptureFixture) -> None:
    Path("generated").mkdir()
    write("generated/test.yy", (spaced := [f"{line[:-1]} ." for line in REFERENCE]))
    write("hyp", spaced)
    assert "hyp is tokenised" in refused("hyp", "-r", "generated/test.yy")
    Path("generated/truth.json").write_text("{}")
    score("hyp", "-r", "generated/test.yy")
    assert "tokenised" not in capsys.readouterr().err


def test_the_training_text_of_a_prepared_folder() -> None:
    Path("data/pieces").mkdir(parents=True)
    Path("data/raw").mkdir()
    Path("data/pieces/encode.json").write_text('{"options": {"target-lang": "en"}}')
    write("data/raw/train.en", REFERENCE)
    assert "ref: 60 lines" in refused("good.1", "-r", "ref", "--train", "data")


def test_comet(monkeypatch: pytest.MonkeyPatch) -> None:
    write("source", [f"s{i}" for i in range(60)])
    words = ["good.1", "-r", "ref", "--source", "source", "-m", "bleu", "comet", "--comet-model", "a/b"]
    monkeypatch.setitem(sys.modules, "comet", None)
    assert "--metrics comet needs unbabel-comet" in refused(*words) and 'pip install "unbabel-comet"' in refused(*words)

    def predict(data: list[dict[str, str]], batch_size: int, gpus: int) -> Any:
        assert data[2] == {"src": "s2", "mt": text(1, 0.1)[2], "ref": REFERENCE[2]} and len(data) == 60
        return types.SimpleNamespace(system_score=0.8125)

    model = types.SimpleNamespace(predict=predict)
    fake = types.SimpleNamespace(download_model=lambda name: f"{name}.ckpt", load_from_checkpoint=lambda path: model)
    monkeypatch.setitem(sys.modules, "comet", fake)
    found = score(*words)
    assert found["systems"][0]["comet"] == 81.25 and found["signatures"]["comet"].startswith("model:a/b|version:")


def test_names_and_seeds() -> None:
    write("x=y", ["a"])
    found = [(o.name, str(o.path), o.seed) for o in parse(["a=good.1", "bad.1", "a=good.2", "x=y"])]
    assert found == [("a", "good.1", 1), ("bad.1", "bad.1", 1), ("a", "good.2", 2), ("x=y", "x=y", 1)]


def test_japanese_without_mecab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(writing_systems.importlib.util, "find_spec", lambda name: None)
    write("ref", ["\u732b\u304c\u30de\u30c3\u30c8\u306e\u4e0a\u306b\u3044\u308b\u3002"] * 5)
    write("a", ["\u732b\u304c\u30de\u30c3\u30c8\u306e\u4e0a\u306b\u3044\u308b\u3002"] * 5)
    write("b", ["\u72ac\u304c\u30de\u30c3\u30c8\u306e\u4e0b\u306b\u3044\u308b\u3002"] * 5)
    found = score("a=a", "b=b", "-r", "ref", "-l", "en-ja", "--baseline", "a", "--samples", "10")
    assert "|tok:char|" in found["signatures"]["bleu"] and set(found["signatures"]) == {"bleu", "chrf"}
    assert found["systems"][0]["bleu"] == 100 and 0 < found["systems"][1]["bleu"] < 100
    assert "fairseq_lskd[ja]" in capsys.readouterr().err
    assert "|tok:char|" in score("a", "-r", "ref")["signatures"]["bleu"]
    assert "script of ja" in capsys.readouterr().err
    assert "fairseq_lskd[ja]" in refused("a", "-r", "ref", "--tokenize", "ja-mecab")
