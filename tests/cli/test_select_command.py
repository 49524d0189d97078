"""`lskd select`: from n-best lists to data that `seq_kd` trains on."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from fairseq import options as fairseq_options
from fairseq_cli import preprocess
from sacrebleu.metrics import CHRF
from tiny import batch, make_criterion, make_model, make_task

from fairseq_lskd.cli import main
from fairseq_lskd.data.vocabulary import dictionary_pieces
from fairseq_lskd.files import sha256
from fairseq_lskd.sequences import SequenceWeights
from fairseq_lskd.sequences.candidates import Candidates
from fairseq_lskd.sequences.manifest import translators
from fairseq_lskd.sequences.select import softmax


@pytest.fixture(autouse=True)
def corpus(bitext: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny corpus with three translations a sentence: a word short, as the reference, and a word long."""
    monkeypatch.chdir(tmp_path)
    for language in ("de", "en"):
        shutil.copyfile(bitext.parent / f"train.{language}", language)
    records = []
    for index, (source, target) in enumerate(zip(lines("de"), lines("en"), strict=True)):
        texts = target.removesuffix(" END"), target, f"{target} {target.split()[0]}"
        hypotheses = [
            {"tokens": text, "text": text, "score": -0.5 - 0.25 * rank - index / 1000, "length": 1}
            for rank, text in enumerate(texts)
        ]
        records.append({"id": index, "source": source, "hypotheses": hypotheses})
    records[7] |= {"hypotheses": [], "skipped": "too long"}
    write(records)


def lines(path: str | Path) -> list[str]:
    *whole, rest = Path(path).read_bytes().decode().split("\n")
    assert rest == ""
    return whole


def write(records: list[dict[str, Any]], name: str = "nbest.jsonl") -> None:
    Path(name).write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")


def records() -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines("nbest.jsonl")]


LISTS = ("nbest.jsonl", "more.jsonl")


def run(*words: str | Path, out: str = "out", lists: Sequence[str] = LISTS[:1]) -> int:
    return main(["select", *lists, "-s", "de", "-t", "en", "--out", out, *map(str, words)])


def refused(*words: str | Path, lists: Sequence[str] = LISTS[:1]) -> str:
    with pytest.raises(SystemExit) as caught:
        run(*words, lists=lists)
    assert not [path for path in Path().iterdir() if path.name == "out" or path.name.startswith(".")]
    said = str(caught.value.code)
    assert said.startswith("lskd select: error: ")
    return said.removeprefix("lskd select: error: ")


def rows(out: str = "out") -> list[tuple[str, str, float, float]]:
    weights = SequenceWeights.load(f"{out}/train.weights.npz")
    pairs = zip(lines(f"{out}/train.de"), lines(f"{out}/train.en"), strict=True)
    given = zip(weights.weight.tolist(), weights.reference.tolist(), strict=True)
    return [(*pair, *more) for pair, more in zip(pairs, given, strict=True)]


def digests(out: str) -> dict[str, str]:
    return {str(path.relative_to(out)): sha256(path) for path in Path(out).rglob("*") if path.is_file()}


def test_the_best_translation_of_every_sentence(capsys: pytest.CaptureFixture) -> None:
    assert run() == 0
    wanted = [(r["source"], r["hypotheses"][0]["tokens"], 1.0, False) for r in records() if r["hypotheses"]]
    assert rows() == wanted and len(wanted) == 59
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "report.json", "report.md", "select.json", "train.de", "train.en", "train.weights.npz",
    ]  # fmt: skip
    said = capsys.readouterr().out
    assert "not translated: too long" in said and said.strip() in Path("out/report.md").read_text()


def test_the_command_to_train_with_can_be_pasted(bitext: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("--student-data", bitext, out="my out") == 0
    words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert words[:2] == ["fairseq-train", "my out/data-bin"] and words[-1] == "my out/train.weights.npz"


def test_the_nearest_and_references_beside_it() -> None:
    assert (
        run("--strategy", "nearest", "--references", "en", "--add-references", "0.25", "--on-empty", "reference") == 0
    )
    wanted = []
    for record, reference in zip(records(), lines("en"), strict=True):
        if record["hypotheses"]:
            wanted += [(record["source"], reference, 0.75, False), (record["source"], reference, 0.25, True)]
        else:
            wanted.append((record["source"], reference, 1.0, 0.25))
    assert rows() == wanted


def test_the_source_says_whose_translations_these_are() -> None:
    assert run("--source", "de", out="same") == 0 and run(out="without") == 0
    assert rows("same") == rows("without")
    assert run("--source", "de", out="without") == 0  # is the same selection
    told = records()
    told[4]["source"] = told[4]["source"].replace(told[4]["source"].split()[0], "<unk>", 1)
    write(told)
    assert run("--source", "de", out="unknown") == 0  # of a teacher whose dictionary lacks a word
    told[4]["source"] = f"another {told[4]['source']}"
    write(told)
    said = refused("--source", "de")
    assert "nbest.jsonl, sentence 4, is not line 5 of --source de" in said and "another text" in said
    marked = [" ".join(f"\u2581{word}" for word in line.split()) for line in lines("de")]
    Path("pieces").write_text("".join(f"{line}\n" for line in marked), encoding="utf-8")
    halves = [line.replace("\u2581", "\u2581 ") for line in marked]
    write([record | {"source": line} for record, line in zip(told, halves, strict=True)])
    said = refused("--source", "pieces")
    assert "sentence 0, is not line 1 of --source pieces" in said and "--sentencepiece-target" in said
    Path("short").write_text("a\n")
    assert "expected 1" in refused("--source", "short")


@pytest.mark.parametrize("best", [None, 3, 2])
def test_a_number_of_translations_that_selects_nothing(best: int | None, capsys: pytest.CaptureFixture) -> None:
    assert run("--strategy", "mbr-n", *(["--mbr-best", str(best)] if best else [])) == 0
    said = capsys.readouterr().err
    assert (f"--mbr-best {best or 5} has no effect: no sentence has more than 3 translations" in said) == (best != 2)
    assert len(rows()) == 59 * min(best or 5, 3)


def test_a_score_temperature_of_minimum_bayes_risk() -> None:
    assert run("--strategy", "mbr", "--mbr-evidence", "scores", "--score-temperature", "0.1") == 0


def test_minimum_bayes_risk_needs_no_references(bitext: Path) -> None:
    assert run("--strategy", "mbr-n", "--mbr-best", "2", "--student-data", bitext) == 0
    assert len(rows()) == 2 * 59 and {row[2] for row in rows()} == {0.5}
    assert run("--strategy", "mbr", out="one") == 0
    metric, wanted = CHRF(), []
    for texts in ([h["text"] for h in r["hypotheses"]] for r in records() if r["hypotheses"]):
        means = [sum(metric.sentence_score(text, [other]).score for other in texts) for text in texts]
        wanted.append(texts[max(range(3), key=means.__getitem__)])
    assert [row[1] for row in rows("one")] == wanted
    assert json.loads(Path("one/report.json").read_text())["expected utility"]["chosen is not the best"] == 1
    assert run("--strategy", "mbr", "--workers", "2", out="two") == 0 and rows("one") == rows("two")


def test_minimum_bayes_risk_with_utilities_of_another_metric() -> None:
    lists = [[h["text"] for h in r["hypotheses"]] for r in records()]
    metric = CHRF()
    matrices = [[[metric.sentence_score(a, [b]).score for b in texts] for a in texts] for texts in lists]
    Path("utilities.jsonl").write_text("".join(f"{json.dumps(matrix)}\n" for matrix in matrices))
    given = ("--utilities", "utilities.jsonl")
    # The highest score is not the first of the list, and a filter drops some.
    changed = records()
    for number, record in enumerate(changed):
        for place, hypothesis in enumerate(record["hypotheses"]):
            hypothesis["score"] = -float((place + number) % 3)
    write(changed)
    chosen = ("--strategy", "mbr", "--filter-score", "-1.5")
    assert run(*chosen, out="chrf") == run(*chosen, *given) == 0
    assert rows() == rows("chrf")
    report, made = (json.loads(Path("out", name).read_text()) for name in ("report.json", "select.json"))
    assert report["expected utility"]["signature"] is None and "metric" not in made["options"]
    assert (
        made["inputs"]["--utilities"] == sha256("utilities.jsonl") and "None" not in Path("out/report.md").read_text()
    )
    # One hypothesis is good against all others.
    liked = [[[float(row == len(texts) - 1)] * len(texts) for row in range(len(texts))] for texts in lists]
    Path("utilities.jsonl").write_text("".join(f"{json.dumps(matrix)}\n" for matrix in liked))
    assert run("--strategy", "mbr", *given, out="liked") == 0
    assert [row[1] for row in rows("liked")] == [r["hypotheses"][-1]["tokens"] for r in records() if r["hypotheses"]]


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ("[[1, 2], [3, 4]]", ["found 2 rows of 2", "expected 3 of 3"]),
        ("[[1, 2, 3], [4, 5], [6, 7, 8]]", ["found 3 rows of 2 or 3", "expected 3 of 3"]),
        ("[[1, 2, 3], [4, 5, NaN], [6, 7, 8]]", ["matrix of numbers"]),
        ("[1, 2, 3]", ["matrix of numbers"]),
        ("", ["ends before sentence 1"]),
    ],
)
def test_utilities_that_do_not_match_the_list_are_refused(line: str, facts: list[str]) -> None:
    Path("utilities.jsonl").write_text(f"{line}\n" if line else "")
    said = refused("--strategy", "mbr", "--utilities", "utilities.jsonl")
    assert "--utilities utilities.jsonl" in said and all(fact in said for fact in facts)
    assert not Path("out").exists()


def test_utilities_are_for_minimum_bayes_risk() -> None:
    assert "--strategy 1-best" in refused("--utilities", "utilities.jsonl")
    assert "--metric" in refused("--strategy", "mbr", "--utilities", "utilities.jsonl", "--metric", "chrf")


def test_options_that_are_new_do_not_make_older_folders_out_of_date() -> None:
    assert run() == 0
    recorded = json.loads(Path("out/select.json").read_text())["options"]
    assert recorded["metric"] == "sentence-bleu" and not [name for name in recorded if name.startswith("mbr")]


def test_a_preset_is_its_flags(capsys: pytest.CaptureFixture) -> None:
    changed = records()
    changed[3]["hypotheses"][0] |= {"text": "So so. So so.", "tokens": "So so. So so."}
    changed[4]["hypotheses"][0] |= {"text": "[UNK]", "tokens": "[UNK]"}
    changed[5]["hypotheses"][0] |= {"text": "A 17", "tokens": "A 17"}
    write(changed)
    # The languages of this corpus are letters, so that every translation is a copy.
    assert run("--preset", "clean", "--filter-copies", "1", "--filter-usual-length", "50", out="preset") == 0
    dropped = json.loads(Path("preset/report.json").read_text())["dropped"]
    assert {"repeated clause", "unknown word", "numbers differ"} <= dropped.keys()
    assert "numbers differ" in Path("preset/report.md").read_text()
    made = json.loads(Path("preset/select.json").read_text())
    assert made["options"]["filter-copies"] == 1 and made["options"]["filter-numbers"] is True
    assert made["options"]["filter-repeats"] == [4, 2] and made["learnt"]["script"]["script"] == "Latin"
    flags = ["unk", "short", "numbers", "brackets", "clauses"]
    more = ["--filter-repeats", "4,2", "--filter-copies", "1", "--filter-script", "0.5", "--filter-usual-length", "50"]
    capsys.readouterr()
    assert run(*(f"--filter-{name}" for name in flags), *more, out="preset") == 0
    assert "up to date" in capsys.readouterr().err


def test_a_filter_that_drops_nearly_all_is_named_before_binarising(bitext: Path, capsys: pytest.CaptureFixture) -> None:
    write(
        [
            r | {"hypotheses": [h | {"text": f"{h['text']} 17"} if i else h for h in r["hypotheses"]]}
            for i, r in enumerate(records())
        ]
    )
    assert run("--filter-numbers", "--student-data", bitext) == 0
    said = capsys.readouterr().err
    assert "--filter-numbers dropped 98% of the hypotheses" in said
    assert said.index("--filter-numbers") < said.index("binarising")


def test_scores_from_elsewhere_choose_drop_and_weigh() -> None:
    counts = [len(r["hypotheses"]) for r in records()]
    # The last of three is the best; the first of the first sentence alone has a score of its own.
    scores = [[rank + (i == 0 and rank == 0) * 9.0 for rank in range(count)] for i, count in enumerate(counts)]
    Path("arrays").write_text("".join(f"{json.dumps(each)}\n" for each in scores))
    Path("numbers").write_text("".join(f"{score}\n" for each in scores for score in each))
    Path("errors").write_text("".join(f"{-score}\n" for each in scores for score in each))
    wanted = [r["hypotheses"][0 if i == 0 else 2]["tokens"] for i, r in enumerate(records()) if r["hypotheses"]]
    for name in ("arrays", "numbers"):
        assert run("--scores", name, out=f"{name}-out") == 0
        assert [row[1] for row in rows(f"{name}-out")] == wanted
    assert run("--scores", "errors", "--scores-lowest", out="errors-out") == 0
    assert [row[1] for row in rows("errors-out")] == wanted
    assert run("--scores", "numbers", "--strategy", "n-best", "--filter-score", "1", out="n-best") == 0
    weights = softmax([9.0, 2.0, 1.0], 1.0).tolist() + softmax([2.0, 1.0], 1.0).tolist() * 58
    assert [row[2] for row in rows("n-best")] == pytest.approx(weights)
    dropped = json.loads(Path("n-best/report.json").read_text())["dropped"]["score"]
    assert dropped["hypotheses"] == 58
    errors = ["--scores", "errors", "--scores-lowest", "--strategy", "n-best", "--filter-score", "-1"]
    assert run(*errors, out="same") == 0 and rows("same") == rows("n-best")
    Path("numbers").write_text("1\n" * (sum(counts) + 1))
    assert f"--scores numbers, line {sum(counts) + 1}: found more scores" in refused("--scores", "numbers")


@pytest.mark.parametrize("form", ["text", "moses", "fairseq"])
def test_translations_that_are_out_of_step_are_refused(form: str, capsys: pytest.CaptureFixture) -> None:
    sources = [" ".join("abc" for _ in range(1 + (7 * i) % 23)) for i in range(200)]
    targets = [line.replace("a", "xy") for line in sources]
    Path("source").write_text("".join(f"{line}\n" for line in sources))
    marks = {"text": "{}\n", "moses": "{i} ||| {} ||| f= 0 ||| -1\n", "fairseq": "H-{i}\t-1\t{}\n"}
    end = "Generate test with beam=5:\n" if form == "fairseq" else ""

    def translated(lines: list[str]) -> None:
        text = "".join(marks[form].format(line, i=i) for i, line in enumerate(lines))
        Path("nbest.jsonl").write_text(text + end)

    options = "--format", form, "--source", "source"
    translated(targets)
    assert run(*options, out="right") == 0
    translated([*targets[:80], *targets[81:], "xybc"])
    said = refused(*options)
    assert "lines 81 to 199 of nbest.jsonl" in said and "lines 82 to 200 of --source source" in said
    assert "--allow-shifted" in said
    assert run(*options, "--allow-shifted", out="warned") == 0 and "lines 81 to 199" in capsys.readouterr().err
    translated(targets)
    Path("references").write_text("".join(f"{line}\n" for line in [*targets[1:], "xybc"]))
    assert "--references references" in refused(*options, "--references", "references")


class TestTranslationsThatTeachNothing:
    def translated(self, texts: Callable[[int, str], str]) -> None:
        """Replace every translation. `texts` gets the number of the sentence and its best translation."""
        rows = records()
        for row in rows:
            for hypothesis in row["hypotheses"]:
                text = texts(row["id"], row["hypotheses"][0]["text"])
                hypothesis |= {"text": text, "tokens": text}
        write(rows)

    def test_good_ones_give_no_warning(self, capsys: pytest.CaptureFixture) -> None:
        assert run() == 0 and "warning" not in capsys.readouterr().err

    def test_the_same_text_for_every_sentence_gives_a_warning(self, capsys: pytest.CaptureFixture) -> None:
        self.translated(lambda number, text: "a house .")
        assert run() == 0
        assert "59 of 59 translations are the same, 'a house .'" in capsys.readouterr().err

    @pytest.mark.parametrize("more", [(), ("--on-empty", "reference", "--references", "en")])
    def test_only_empty_ones_are_refused(self, more: tuple[str, ...]) -> None:
        self.translated(lambda number, text: " ")
        assert re.search(r"the best translation of each of \d+ sentences is empty", refused(*more))

    def test_mostly_the_same_text_gives_a_warning_before_binarising(
        self, bitext: Path, capsys: pytest.CaptureFixture
    ) -> None:
        same = lines("en")[0]
        self.translated(lambda number, text: text if number % 4 == 0 else same)
        assert run("--student-data", bitext) == 0
        said = capsys.readouterr().err
        assert f"translations are the same, {same[:60]!r}" in said and said.index("are the same") < said.index(
            "binarising"
        )

    def test_loops_give_a_warning(self, capsys: pytest.CaptureFixture) -> None:
        self.translated(lambda number, text: f"{text.split()[0]} " * 9 if number % 4 == 0 else text)
        assert run() == 0
        assert "repeat one word" in capsys.readouterr().err

    def test_the_best_one_of_several_lists_counts(self, capsys: pytest.CaptureFixture) -> None:
        shutil.copy(LISTS[0], LISTS[1])
        self.translated(lambda number, text: "")
        rows = records()
        for row in rows:
            for hypothesis in row["hypotheses"]:
                hypothesis["score"] -= 10
        write(rows)
        assert run(lists=LISTS) == 0 and "translations are empty" not in capsys.readouterr().err


@pytest.mark.parametrize("strategy", ["1-best", "n-best"])
def test_every_source_of_a_mixture_weighs_the_same_at_every_share(strategy: str) -> None:
    """Also one that was not translated, and one without a reference."""
    write([record | {"source": f"{record['source']} {i}"} for i, record in enumerate(records())])
    Path("en").write_text("".join(f"{line}\n" if i != 9 else "\n" for i, line in enumerate(lines("en"))))
    options = "--strategy", strategy, "--references", "en", "--add-references", "0.5", "--on-empty", "reference"
    assert run(*options) == 0
    sources = [row[0] for row in rows()]
    for share in (0, 0.3, 1):
        weights = SequenceWeights.load("out/train.weights.npz").share(share).weight
        of = dict.fromkeys(sources, 0.0)
        for source, weight in zip(sources, weights.tolist(), strict=True):
            of[source] += weight
        assert len(of) == 60 and list(of.values()) == pytest.approx([0.5] * 60, rel=1e-6)


def test_n_best_weights_sum_to_1_a_source() -> None:
    assert run("--strategy", "n-best", "--score-temperature", "0.5") == 0
    found = rows()
    assert len(found) == 3 * 59
    weights = np.float32(softmax([0, -0.25, -0.5], 0.5))
    for first in range(0, len(found), 3):
        assert [row[2] for row in found[first : first + 3]] == pytest.approx(weights.tolist(), rel=1e-6)


class TestBinarised:
    """What fairseq reads is what was written, row by row."""

    def check(self, *flags: str) -> Any:
        task = make_task(Path("out/data-bin"), *flags)
        data, weights = task.dataset("train"), SequenceWeights.load("out/train.weights.npz")
        assert len(data) == len(weights.weight) == len(lines("out/train.de"))
        for i, (source, target) in enumerate(zip(lines("out/train.de"), lines("out/train.en"), strict=True)):
            assert data[i]["id"] == i
            assert task.source_dictionary.string(data[i]["source"]) == source
            assert task.target_dictionary.string(data[i]["target"]) == target
        return task

    def test_example_i_is_line_i_and_has_weight_i(self, bitext: Path) -> None:
        """Sentences are dropped, taken twice and three times; a translation has white space of every kind."""
        changed = records()
        changed[3]["hypotheses"][0]["tokens"] = "A\u2028B\rC\x0bEND\x85A"
        changed[5]["hypotheses"] = [{"tokens": "", "text": "", "score": -1, "length": 1}]
        write(changed)
        options = ("--strategy", "n-best", "--references", "en", "--add-references", "0.25", "--student-data", bitext)
        assert run(*options, "--filter-score-quantile", "0.1") == 0
        self.check()
        by_source: dict[str, float] = {}
        for source, _, weight, _ in rows():
            by_source[source] = by_source.get(source, 0) + weight
        repeated = {source: lines("de").count(source) for source in by_source}
        assert len(by_source) < len(set(lines("de")))
        assert all(weight <= repeated[source] + 1e-6 for source, weight in by_source.items())
        assert "A B C END A" in lines("out/train.en")

    def test_seq_kd_finds_each_weight_by_the_sample_s_id(self, bitext: Path) -> None:
        assert run("--strategy", "n-best", "--score-temperature", "0.1", "--student-data", bitext) == 0
        task = self.check()
        model = make_model(task).eval()
        criterion = make_criterion(task, "seq_kd", sequence_weights="out/train.weights.npz").train()
        plain = make_criterion(task, "cross_entropy").train()
        ids = [170, 3, 44, 4, 5, 101]
        sample = batch(task, ids)
        assert sample["id"].tolist() != ids  # fairseq sorts a batch by length
        wanted = sum(rows()[i][2] * plain(model, batch(task, [i]))[0].item() for i in ids)
        assert criterion(model, sample)[0].item() == pytest.approx(wanted, rel=1e-6)

    def test_valid_and_dictionaries_are_the_student_s(self, bitext: Path) -> None:
        assert run("--student-data", bitext) == 0
        task = self.check()
        assert len(task.dataset("valid")) == 9
        for name in ("dict.de.txt", "dict.en.txt", "valid.de-en.de.bin", "valid.de-en.en.idx"):
            assert sha256(Path("out/data-bin", name)) == sha256(bitext / name)

    def test_dictionaries_and_a_validation_set_may_be_named(self, bitext: Path) -> None:
        dictionaries = "--srcdict", bitext / "dict.de.txt", "--tgtdict", bitext / "dict.en.txt"
        assert run(*dictionaries, "--validpref", bitext.parent / "valid") == 0
        assert len(self.check().dataset("valid")) == 9

    def test_pieces_that_the_dictionary_lacks_are_warned_of(self, bitext: Path, capsys: pytest.CaptureFixture) -> None:
        write([record | {"source": f"x {record['source']}"} for record in records()])
        assert run("--student-data", bitext) == 0
        said = capsys.readouterr().err
        unknown = json.loads(Path("out/select.json").read_text())["unknown"]
        assert 10 < unknown["de"] < 30 and unknown["en"] == 0
        assert f"{unknown['de']:.0f} %" in said and "train.de" in said and "--sentencepiece-source" in said
        assert "train.en" not in said

    @pytest.mark.parametrize(("side", "flag"), [("de", "source"), ("en", "target")])
    def test_other_pieces_than_the_dictionary_s_are_refused(self, side: str, flag: str, bitext: Path) -> None:
        def other(text: str) -> str:
            return " ".join(f"▁{word}" for word in text.split())

        changed = records()
        for record in changed:
            record["source"] = other(record["source"]) if side == "de" else record["source"]
            for each in record["hypotheses"] if side == "en" else ():
                each["tokens"] = other(each["tokens"])
        write(changed)
        said = refused("--student-data", bitext)
        assert f"nbest.jsonl, the {side} side" in said and f"dict.{side}.txt lacks 100 %" in said
        assert f"--sentencepiece-{flag}" in said

    def test_the_file_with_other_pieces_is_named(self, bitext: Path) -> None:
        """The source of another format is a file of its own."""
        Path("raw.de").write_text("Ein Satz .\n" * 20)
        Path("moses.txt").write_text("".join(f"{i} ||| A B END ||| 0 ||| -1\n" for i in range(20)))
        said = refused("--format", "moses", "--source", "raw.de", "--student-data", bitext, lists=["moses.txt"])
        assert said.startswith("--source raw.de, the de side: ") and "--sentencepiece-source" in said

    def test_a_student_with_other_pieces(self) -> None:
        for side, language in (("srcdict", "de"), ("tgtdict", "en")):
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines(language)), model_prefix=side, model_type="char", minloglevel=2
            )
            model = sentencepiece.SentencePieceProcessor(model_file=f"{side}.model")
            Path(side).write_text("".join(f"{piece} 1\n" for piece in dictionary_pieces(model)), encoding="utf-8")
        pieces = "--sentencepiece-source", "srcdict.model", "--sentencepiece-target", "tgtdict.model"
        dictionaries = "--srcdict", "srcdict", "--tgtdict", "tgtdict"
        assert run("--references", "en", "--add-references", "0.5", *pieces, *dictionaries) == 0
        assert json.loads(Path("out/select.json").read_text())["unknown"] == {"de": 0, "en": 0}
        assert rows()[0][0] == " ".join(f"▁{letter}" for letter in lines("de")[0].split()).replace("▁", "▁ ")
        assert rows()[1][1].endswith(" ▁ E N D")
        for name in ("valid.de", "valid.en"):
            Path(name).write_text("▁\n", encoding="utf-8")
        assert run(*pieces, *dictionaries, "--validpref", "valid", out="again") == 0
        assert lines("again/train.en") == lines("out/train.en")[::2]

    def test_the_bytes_are_those_of_fairseq_preprocess(self, bitext: Path) -> None:
        assert run("--student-data", bitext) == 0
        words = ["-s", "de", "-t", "en", "--trainpref", "out/train", "--destdir", "theirs", "--workers", "1"]
        words += ["--srcdict", f"{bitext}/dict.de.txt", "--tgtdict", f"{bitext}/dict.en.txt"]
        preprocess.main(fairseq_options.get_preprocessing_parser().parse_args(words))
        ours = [path for path in Path("out/data-bin").iterdir() if path.name.startswith(("train.", "dict."))]
        assert len(ours) == 6
        for path in ours:
            assert path.read_bytes() == Path("theirs", path.name).read_bytes(), path.name

    def test_a_dictionary_that_is_none_is_refused_first(self) -> None:
        Path("dict").write_text("no dictionary\n")
        said = refused("--srcdict", "dict", "--tgtdict", "dict")
        assert said == "dict: line 1: expected a new symbol and its count, found 'no dictionary'"


def in_pieces(text: str) -> str:
    """Return words of two pieces each, as subword-nmt writes them."""
    return " ".join(f"{word}@@ x" for word in text.split())


class TestPiecesOfSubwordNmt:
    def test_a_list_that_would_be_read_as_text_is_refused(self) -> None:
        found = records()
        for each in found:
            each["source"] = in_pieces(each["source"])
        write(found)
        message = refused("--filter-copies", "0.99")
        assert "--remove-bpe subword_nmt" in message and "nbest.jsonl" in message and not Path("out").exists()
        assert run("--filter-copies", "0.99", "--remove-bpe", "subword_nmt") == 0

    def test_so_are_references_and_other_formats(self) -> None:
        Path("pieces.en").write_text("".join(f"{in_pieces(line)}\n" for line in lines("en")))
        message = refused("--strategy", "nearest", "--references", "pieces.en")
        assert "--references pieces.en" in message and "--remove-bpe subword_nmt" in message
        flags = ["--format", "text", "--source", "de"]
        assert "pieces.en: " in refused(*flags, lists=["pieces.en"])
        assert run(*flags, "--remove-bpe", "subword_nmt", lists=["pieces.en"]) == 0

    def test_references_as_text_for_a_student_in_pieces_are_refused(self, bitext: Path) -> None:
        Path("other.en").write_text("".join(f"{line} x y z u v w\n" for line in lines("en")))
        flags = ["--add-references", "0.5", "--references", "other.en", "--student-data", bitext]
        message = refused(*flags, "--remove-bpe", "subword_nmt")
        for fact in ("--references other.en", "at most 20 %", "in the student's pieces"):
            assert fact in message
        assert not Path("out").exists()


def test_every_filter_is_counted() -> None:
    source = "Ein Mann fährt mit seinem Fahrrad durch die Stadt."
    texts = {
        "length ratio": "A man.",
        "copy of the source": "Ein Mann fährt mit Fahrrad durch the city.",
        "repeated n-gram": "A man rides a man rides a man rides his bicycle.",
        "language": "Un homme traverse la ville avec son vélo rouge.",
        "duplicate": "A man rides his bicycle through the city.",
    }
    best = {"tokens": texts["duplicate"], "text": texts["duplicate"], "score": -0.1, "length": 1}
    worse = [best | {"tokens": text, "text": text, "score": -0.5} for text in texts.values()]
    lowest = best | {"score": -9.0}
    write([{"id": i, "source": source, "hypotheses": [best, *worse]} for i in range(9)]
          + [{"id": 9, "source": source, "hypotheses": [lowest]}])  # fmt: skip
    flags = "--filter-length-ratio 2 --filter-copies 0.6 --filter-repeats 3,2 --filter-language de,en --dedup"
    assert run(*flags.split(), "--filter-score-quantile", "0.1", "--strategy", "n-best") == 0
    report = json.loads(Path("out/report.json").read_text())
    counted = {reason: (found["sentences"], found["hypotheses"]) for reason, found in report["dropped"].items()}
    assert counted == {**dict.fromkeys(texts, (9, 9)), "teacher score": (1, 1)}
    for reason, text in texts.items():
        assert {example["hypothesis"] for example in report["dropped"][reason]["examples"]} == {text}
    assert [row[1:3] for row in rows()] == [(texts["duplicate"], 1.0)] * 9


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("text", "A\nB\n\nEND\nA END\n\n"),
        ("moses", "0 ||| A ||| f= 1 ||| -1\n0 ||| B ||| f= 1 ||| -2\n1 ||| END ||| ||| -1\n2 ||| A END ||| ||| -1\n"),
        ("fairseq", "H-2\t-1\tA END\nH-0\t-1\tA\nH-0\t-2\tB\nH-1\t-1\tEND\nGenerate test\n"),
    ],
)
def test_translations_made_elsewhere(form: str, written: str) -> None:
    Path("nbest.jsonl").write_text(written)
    Path("source").write_text("a\nb\nc\n")
    options = ["--format", form, "--source", "source"]
    if form == "text":
        Path("scores").write_text("-1\n-2\n0\n-1\n-1\n0\n")
        options += ["--nbest", "2", "--scores", "scores"]
    assert run(*options) == 0
    assert rows() == [("a", "A", 1.0, False), ("b", "END", 1.0, False), ("c", "A END", 1.0, False)]
    assert run(*options, "--strategy", "n-best", out="all") == 0
    assert len(rows("all")) == 4 and rows("all")[0][2] < 1


def test_unknown_words_are_counted_and_dropped(capsys: pytest.CaptureFixture) -> None:
    changed = records()
    for index, word in ((0, "<unk>"), (1, "<<unk>>"), (2, " \u2047 ")):
        changed[index]["hypotheses"][0]["text"] = f"A{word}B"
    changed[3]["hypotheses"][1]["text"] = "<unk>"
    write(changed)
    assert run() == 0
    said = capsys.readouterr().out
    assert "3 of the written translations contain an unknown word" in said
    report = json.loads(Path("out/report.json").read_text())
    assert report["unknown words"] == {"sentences": 4, "hypotheses": 4, "written": 3}
    assert "filter-unk" not in json.loads(Path("out/select.json").read_text())["options"]

    assert run("--filter-unk", out="clean") == 0
    report = json.loads(Path("clean/report.json").read_text())
    assert report["unknown words"] == {"sentences": 4, "hypotheses": 4, "written": 0}
    assert report["dropped"]["unknown word"]["hypotheses"] == 4
    assert "unknown word (`<unk>`)" not in capsys.readouterr().out
    assert [row[1] for row in rows("clean")[:3]] == [record["hypotheses"][1]["tokens"] for record in changed[:3]]


class TestManifest:
    def test_it_says_from_what_the_data_was_made(self, bitext: Path) -> None:
        size, lines = Path("nbest.jsonl").stat().st_size, len(Path("nbest.jsonl").read_text().splitlines())
        made_by = {"run": {"teacher": {"a.pt": "0123"}}, "lines": lines, "bytes": size}
        Path("nbest.jsonl.manifest.json").write_text(json.dumps(made_by))
        assert run("--max-hypotheses", "2", "--student-data", bitext) == 0
        found = json.loads(Path("out/select.json").read_text())
        assert found["translations"] == made_by
        assert found["options"]["strategy"] == "1-best" and found["options"]["max-hypotheses"] == 2
        assert found["inputs"]["NBEST"] == sha256("nbest.jsonl")
        assert found["inputs"]["--tgtdict"] == sha256(bitext / "dict.en.txt")
        assert found["inputs"]["valid.de-en.de.bin"] == sha256(bitext / "valid.de-en.de.bin")
        assert found["pairs"] == {"translations": 59, "references": 0}
        assert {"data-bin/train.de-en.de.idx", "train.weights.npz"} <= found["outputs"].keys()
        assert {"fairseq_lskd", "sacrebleu"} <= found["versions"].keys()

    def test_translations_in_the_other_direction_are_refused(self) -> None:
        size, lines = Path("nbest.jsonl").stat().st_size, len(Path("nbest.jsonl").read_text().splitlines())
        made_by = {"run": {}, "lines": lines, "bytes": size, "translates": "en-de"}
        Path("nbest.jsonl.manifest.json").write_text(json.dumps(made_by))
        assert "nbest.jsonl: its teacher translates en-de, expected de-en (-s, -t)" in refused()
        Path("nbest.jsonl.manifest.json").write_text(json.dumps(made_by | {"translates": "de-en"}))
        assert run() == 0

    def test_few_unknown_pieces_are_warned_of_if_the_teacher_has_another_dictionary(
        self, bitext: Path, capsys: pytest.CaptureFixture
    ) -> None:
        first, *others = records()
        write([first | {"source": f"x {first['source']}"}, *others])
        size = Path("nbest.jsonl").stat().st_size
        for digest, warned in ((sha256(bitext / "dict.de.txt"), False), ("0" * 64, True)):
            made_by = {"run": {"dictionaries": [digest]}, "lines": 1 + len(others), "bytes": size}
            Path("nbest.jsonl.manifest.json").write_text(json.dumps(made_by))
            assert run("--student-data", bitext, out=f"out-{warned}") == 0
            said = capsys.readouterr().err
            assert ("the teacher's dictionary is not the student's" in said and "train.de" in said) == warned

    def test_the_same_call_has_nothing_to_do_unless_a_file_is_gone(
        self, bitext: Path, capsys: pytest.CaptureFixture
    ) -> None:
        assert run("--student-data", bitext) == 0
        before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")}
        capsys.readouterr()
        assert run("--student-data", bitext, "--workers", "2") == 0
        assert capsys.readouterr().err == "out: up to date\n"
        assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")} == before
        Path("out/data-bin/train.de-en.en.bin").unlink()
        with pytest.raises(SystemExit, match=r"train\.de-en\.en\.bin was changed: it is missing"):
            run("--student-data", bitext)

    @pytest.mark.parametrize(
        ("options", "difference"),
        [
            (["--strategy", "n-best"], "--strategy: 1-best, now n-best"),
            (["--strategy", "mbr"], "--strategy: 1-best, now mbr"),
            (["--dedup"], "--dedup: False, now True"),
            (["--references", "en"], "input --references: none, now SHA-256 "),
        ],
    )
    def test_another_call_does_not_overwrite_it(self, options: list[str], difference: str) -> None:
        assert run() == 0
        before = digests("out")
        with pytest.raises(SystemExit, match="out was created with different options") as caught:
            run(*options)
        assert difference in str(caught.value.code) and "--metric" not in str(caught.value.code)
        assert "LSKD_REPLACE=1" in str(caught.value.code) and "prepare.sh" not in str(caught.value.code)
        assert digests("out") == before

    def test_gzip_and_workers_change_nothing(self, bitext: Path) -> None:
        options = "--strategy", "nearest", "--references", "en", "--dedup", "--filter-repeats", "1,4"
        assert run(*options, "--student-data", bitext) == 0
        with gzip.open("nbest.gz", "wb") as stream:
            stream.write(Path("nbest.jsonl").read_bytes())
        words = ["select", "nbest.gz", "-s", "de", "-t", "en", "--out", "two", "--workers", "2", *options]
        assert main([*words, "--student-data", str(bitext)]) == 0
        assert digests("two") == digests("out")

    def test_a_killed_call_leaves_nothing_that_looks_finished(self) -> None:
        record = records()[0]
        write([record | {"id": i} for i in range(20_000)])
        Path("en").write_text("A B END\n" * 20_000)
        words = ["nbest.jsonl", "-s", "de", "-t", "en", "--out", "out", "--strategy", "nearest", "--references", "en"]
        process = subprocess.Popen([sys.executable, "-m", "fairseq_lskd.cli", "select", *words])
        end = time.monotonic() + 60
        while not list(Path().glob(".out.*.partial/train.en")):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not Path("out").exists()


class TestSeveralLists:
    """Two lists of the same sentences: hypotheses of both are candidates."""

    def test_hypotheses_of_all_lists_are_candidates(self) -> None:
        first, second = records(), records()
        for one, other in zip(first, second, strict=True):
            one["hypotheses"] = one["hypotheses"][:1]
            other["hypotheses"] = other["hypotheses"][1:2]  # the reference
        second[7] |= {"hypotheses": [{"tokens": "a", "text": "a", "score": -1.0, "length": 1}]}
        del second[7]["skipped"]
        write(first)
        write(second, "more.jsonl")
        written = {"run": {"teacher": ["0" * 64]}, "lines": 60, "bytes": Path("more.jsonl").stat().st_size}
        Path("more.jsonl.manifest.json").write_text(json.dumps(written))
        assert run("--strategy", "nearest", "--references", "en", lists=LISTS) == 0
        wanted = lines("en")
        assert lines("out/train.en") == [*wanted[:7], "a", *wanted[8:]]
        assert translators(Path("out")) == {"0" * 64}
        assert "NBEST 2" in json.loads(Path("out/select.json").read_text())["inputs"]

    def test_lists_of_other_sentences_are_refused(self) -> None:
        other = records()
        other[5]["source"] = "x"
        write(other, "more.jsonl")
        said = refused(lists=LISTS)
        assert "more.jsonl" in said and "sentence 5" in said and "--add" in said

    def test_lists_of_other_lengths_are_refused(self) -> None:
        write(records()[:50], "more.jsonl")
        said = refused(lists=LISTS)
        assert "more.jsonl has 50 lines" in said and "60" in said

    def test_other_formats_have_one_list(self) -> None:
        said = refused("--format", "text", "--source", "de", lists=LISTS)
        assert "--format json" in said and "--format text" in said


class TestShares:
    """Several sources in one training set, each with its own share of the loss."""

    @pytest.fixture(autouse=True)
    def other(self) -> None:
        whole = records()
        for record in whole[20:]:
            record |= {"hypotheses": [], "skipped": "empty"}
        write(whole[:20], "more.jsonl")
        assert run(lists=["more.jsonl"], out="other") == 0  # 19 sentences, as the seventh has no translation

    @pytest.mark.parametrize("by", ["sentences", "tokens"])
    def test_weights_add_up_to_the_shares(self, by: str) -> None:
        assert run("--add", "other", "--shares", "0.25", "0.75", "--share-by", by) == 0
        weights = SequenceWeights.load("out/train.weights.npz").weight.astype(float)
        assert len(weights) == 59 + 19
        counted = weights * ([len(line.split()) + 1 for line in lines("out/train.en")] if by == "tokens" else 1)
        total = 59 + 19 if by == "sentences" else sum(len(line.split()) + 1 for line in lines("out/train.en"))
        assert counted[:59].sum() == pytest.approx(0.25 * total, rel=1e-5)
        assert counted[59:].sum() == pytest.approx(0.75 * total, rel=1e-5)
        assert "0.25, 0.75" in Path("out/report.md").read_text()

    def test_without_shares_weights_stay(self) -> None:
        assert run("--add", "other") == 0
        assert (SequenceWeights.load("out/train.weights.npz").weight == 1).all()

    @pytest.mark.parametrize(
        ("options", "facts"),
        [
            (["--shares", "0.5", "0.5"], ["--shares", "--add"]),
            (["--add", "other", "--shares", "0.5", "0.6"], ["--shares 0.5 0.6", "1.1"]),
            (["--add", "other", "--shares", "1", "0"], ["--shares 1 0", "above 0"]),
            (["--add", "other", "--shares", "1"], ["--shares 1", "expected 2", "found 1"]),
            (["--add", "other", "--share-by", "tokens"], ["--share-by", "--shares"]),
            (["--tag", "two words"], ["--tag 'two words'", "one piece"]),
        ],
        ids=lambda value: " ".join(value),
    )
    def test_mistakes(self, options: list[str], facts: list[str]) -> None:
        said = refused(*options)
        assert all(fact in said for fact in facts)

    def test_a_tag_marks_the_selection_alone(self, bitext: Path, capsys: pytest.CaptureFixture) -> None:
        plain = lines("other/train.de")
        assert run("--add", "other", "--tag", "a", "--student-data", bitext) == 0
        assert "binarising 78 pairs: 59 selected, 19 of other" in capsys.readouterr().err
        written = lines("out/train.de")
        assert all(line.startswith("a ") for line in written[:59]) and written[59:] == plain
        assert json.loads(Path("out/select.json").read_text())["options"]["tag"] == "a"

    def test_a_tag_that_the_dictionary_lacks_is_refused(self, bitext: Path) -> None:
        said = refused("--tag", "<mono>", "--student-data", bitext)
        assert "--tag <mono>" in said and "dict.de.txt" in said and "--symbols '<mono>'" in said


class TestMistakes:
    def test_references_in_the_source_language_are_refused(self) -> None:
        options = "--add-references", "0.5", "--references"
        said = refused(*options, "de")
        assert "--references de: 60 of the first 60 are equal to their source sentence" in said
        Path("some").write_text("".join(f"{line}\n" for line in [*lines("de")[:30], *lines("en")[30:]]))
        assert run(*options, "some") == 0

    def test_references_are_a_way_out_only_if_there_are_some(self, capsys: pytest.CaptureFixture) -> None:
        write([record | {"hypotheses": [], "skipped": "too long"} for record in records()[:20]] + records()[20:])
        assert run() == 0
        said = capsys.readouterr().err
        assert "source sentences have no target" in said and "--on-empty" not in said
        assert run("--references", "en", out="with") == 0
        assert "--on-empty reference" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("options", "facts"),
        [
            (["--format", "text"], ["--format text", "--source"]),
            (["--nbest", "2"], ["--nbest", "--format text", "--format json"]),
            (["--scores-lowest"], ["--scores-lowest", "--scores"]),
            (["--format", "text", "--source", "de", "--nbest", "0"], ["--nbest 0", "1 or more"]),
            (["--format", "text", "--source", "de", "--strategy", "n-best"], ["--strategy n-best", "--scores"]),
            (["--format", "text", "--source", "de", "--filter-score", "1"], ["--filter-score", "--scores"]),
            (["--mbr-evidence", "counts"], ["--mbr-evidence", "--strategy mbr", "--strategy 1-best"]),
            (["--strategy", "mbr", "--mbr-best", "3"], ["--mbr-best", "--strategy mbr-n", "--strategy mbr"]),
            (["--strategy", "mbr-n", "--mbr-best", "0"], ["--mbr-best 0", "1 or more"]),
            (["--strategy", "nearest"], ["--references is missing", "--strategy nearest"]),
            (["--add-references", "0.5"], ["--references is missing", "--add-references"]),
            (["--replace-by-references", "0.5"], ["--references is missing", "--replace-by-references"]),
            (["--on-empty", "reference"], ["--references is missing", "--on-empty reference"]),
            (["--filter-score-quantile", "1"], ["--filter-score-quantile 1.0", "below 1"]),
            (["--filter-language", "en,de"], ["--filter-language en,de", "expected de,en"]),
            (["--filter-score-quantile", "0"], ["--filter-score-quantile 0.0", "above 0"]),
            (["--filter-score", "nan"], ["--filter-score nan", "finite"]),
            (["--workers", "0"], ["--workers 0", "1 or more"]),
            (["-t", "de"], ["-s and -t", "de", "two languages"]),
            (["--srcdict", "de"], ["--srcdict", "--tgtdict"]),
            (["--validpref", "valid"], ["--validpref", "--srcdict", "--tgtdict"]),
            (
                ["--student-data", "bin", "--srcdict", "de", "--tgtdict", "en"],
                ["--student-data", "leave out --srcdict"],
            ),
            (["--filter-copies", "0"], ["--filter-copies 0", "above 0"]),
            (["--strategy", "n-best", "--score-temperature", "0"], ["--score-temperature 0", "above 0"]),
            (["--strategy", "mbr", "--score-temperature", "0.1"], ["--score-temperature 0.1", "--mbr-evidence scores"]),
            (["--score-temperature", "0.1"], ["--score-temperature 0.1", "--strategy n-best", "--strategy 1-best"]),
        ],
        ids=lambda value: " ".join(value),
    )
    def test_wrong_flags_are_named(self, options: list[str], facts: list[str]) -> None:
        said = refused(*options)
        assert all(fact in said for fact in facts) and "; " not in said

    def test_all_wrong_flags_are_named_at_once(self) -> None:
        said = refused("--workers", "0", "--filter-score-quantile", "2")
        assert "--workers 0" in said and "--filter-score-quantile 2.0" in said

    @pytest.mark.parametrize("value", ["4", "4,", "4,two", "4,2,1"])
    def test_a_flag_of_two_values_takes_no_other_number(self, value: str, capsys: pytest.CaptureFixture) -> None:
        with pytest.raises(SystemExit) as caught:
            run("--filter-repeats", value)
        assert caught.value.code == 2
        said = capsys.readouterr().err
        assert "argument --filter-repeats: expected two values" in said and f"'{value}'" in said

    @pytest.mark.parametrize("pair", ["en-de", "fr-de"])
    def test_student_data_of_another_pair_is_named(self, pair: str) -> None:
        Path("bin").mkdir()
        Path(f"bin/valid.{pair}.de.idx").touch()
        said = refused("--student-data", "bin")
        assert f"--student-data bin is for {pair}" in said and "-s de -t en" in said

    def test_files_that_are_not_there(self, bitext: Path) -> None:
        assert refused("--references", "none") == "none: cannot be read (No such file or directory)"
        assert refused("--sentencepiece-target", "none").startswith(
            "--sentencepiece-target none: cannot be read (No such file"
        )
        said = refused("--student-data", "bin")
        assert said.startswith("bin/dict.de.txt, bin/dict.en.txt, bin/valid.de-en.de.bin, bin/valid.de-en.de.idx, ")
        for fact in ("--student-data", "lskd binarise", "de and en", "validation set", "--validpref"):
            assert fact in said
        Path("above").mkdir()
        Path("above/bin").symlink_to(bitext)
        said = refused("--student-data", "above")
        assert said == "--student-data above has no binarised data, but above/bin has. Name above/bin"

    def test_references_of_another_length(self) -> None:
        Path("en").write_text("A\n")
        said = "nbest.jsonl has 60 source sentences: --references en has 1 lines, expected 60"
        assert refused("--references", "en") == said
        Path("en").write_text("A\n" * 61)
        said = (
            "has 61 lines, expected 60. If cleaning dropped sentences, give the references that it kept (DATA/pieces)"
        )
        assert refused("--references", "en").endswith(said)

    def test_a_shard(self) -> None:
        write(records()[20:])
        said = refused()
        assert "nbest.jsonl begins with sentence 20" in said and "lskd translate --merge" in said

    def test_a_line_that_is_no_record(self) -> None:
        Path("nbest.jsonl").write_text("{A B\n")
        said = refused()
        assert said.startswith("nbest.jsonl, line 1: not JSON") and "expected a record of `lskd translate`" in said

    def test_a_file_of_another_format(self) -> None:
        said = refused(lists=["en"])
        assert said.startswith("en is not a list of `lskd translate`: its first line is ")
        assert "looks like plain text. Give --format text --source FILE" in said and "--nbest N" in said
        assert "Leave --format text out" in refused("--format", "text", "--source", "de")
        assert "en is not a list of" in refused(lists=["nbest.jsonl", "en"])

    def test_a_broken_record_of_the_translation(self) -> None:
        Path("nbest.jsonl.manifest.json").write_text("{")
        said = refused()
        assert said.startswith("nbest.jsonl.manifest.json: ") and "`lskd translate`" in said

    def test_fewer_translations_than_their_record_says(self) -> None:
        """As after a corpus that shrank while it was translated."""
        record = {"run": {}, "lines": 8000, "bytes": Path("nbest.jsonl").stat().st_size}
        Path("nbest.jsonl.manifest.json").write_text(json.dumps(record))
        assert re.match(r"nbest\.jsonl has 60 lines.* nbest\.jsonl\.manifest\.json says 8,000\b", refused())
        Path("nbest.jsonl.manifest.json").write_text(json.dumps(record | {"lines": 60, "bytes": 7}))
        assert "nbest.jsonl.manifest.json says 7:" in refused()

    @pytest.mark.parametrize("name", ["nbest.jsonl", "en"])
    @pytest.mark.parametrize("change", ["fewer", "more", "others"])
    def test_files_that_change_meanwhile(self, name: str, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
        text = lines(name)
        last = text[-1].replace('"id": 59', '"id": 60') if name == "nbest.jsonl" else "END"
        changed = {"fewer": text[:-3], "more": [*text, last], "others": [text[0].replace("END", "EN"), *text[1:]]}
        init = Candidates.__post_init__

        def change_then(self: Candidates) -> None:
            init(self)
            Path(name).write_text("".join(f"{line}\n" for line in changed[change]))

        monkeypatch.setattr(Candidates, "__post_init__", change_then)
        said = refused("--references", "en")
        assert re.search(rf"{name} had 60 lines\b.* {len(changed[change])}\b", said)

    def test_nothing_left(self) -> None:
        write([record | {"hypotheses": [], "skipped": "empty"} for record in records()])
        said = refused()
        assert said.startswith("no sentence is left to train on") and "not translated: empty" in said

    @pytest.mark.parametrize("strategy", ["n-best", "nearest"])
    def test_a_choice_where_there_is_none(self, strategy: str, bitext: Path) -> None:
        write([record | {"hypotheses": record["hypotheses"][:1]} for record in records()])
        options = "--strategy", strategy, "--references", "en", "--student-data", bitext
        said = refused(*options)
        assert f"--strategy {strategy}" in said and "nbest.jsonl" in said and "--nbest 5" in said
        several = records()
        several[-1]["hypotheses"] *= 2
        write(several)
        assert run(*options) == 0

    def test_a_folder_of_something_else(self) -> None:
        Path("out").mkdir()
        Path("out/mine").write_text("text")
        with pytest.raises(SystemExit, match=r"out exists, but has no select\.json"):
            run()
        assert [path.name for path in Path("out").iterdir()] == ["mine"]


def test_the_worst_by_scores_in_a_file_are_dropped_and_the_rest_is_chosen_by_its_own_scores() -> None:
    # Line i has the scores 3i, 3i+1 and 3i+2; 177 hypotheses, so 5 % are the first 8.
    found = [[3 * i, 3 * i + 1, 3 * i + 2] if record["hypotheses"] else [] for i, record in enumerate(records())]
    Path("backward.jsonl").write_text("".join(f"{json.dumps(scores)}\n" for scores in found))
    assert "--filter-worst backward.jsonl much" in refused("--filter-worst", "backward.jsonl", "much")
    assert run("--filter-worst", "backward.jsonl", "0.05", "--filter-below", "backward.jsonl", "-1") == 0
    report = json.loads(Path("out/report.json").read_text())
    assert {name: (each["hypotheses"], each["sentences"]) for name, each in report["dropped"].items()} == {
        "lowest 5 % in backward.jsonl": (8, 3)
    }
    examples = report["dropped"]["lowest 5 % in backward.jsonl"]["examples"]
    assert all(0 <= example["score"] < 8 for example in examples) and len(examples) == 5
    assert "lowest 5 % in backward.jsonl" in Path("out/report.md").read_text()
    # The third sentence keeps its last hypothesis, and all others their best.
    wanted = [
        record["hypotheses"][2 if i == 2 else 0]["tokens"] for i, record in enumerate(records()) if i > 1 and i != 7
    ]
    assert [target for _, target, *_ in rows()] == wanted
    made = json.loads(Path("out/select.json").read_text())
    assert made["inputs"]["--filter-worst backward.jsonl 0.05"] == sha256("backward.jsonl")
    assert made["thresholds"] == {"lowest 5 % in backward.jsonl": 8.0, "below -1 in backward.jsonl": -1.0}
