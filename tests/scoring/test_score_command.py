"""Tests of `lskd score --run`, which writes the result record of a run."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import WIDER, make_model, make_task

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.files import sha256
from fairseq_lskd.records.parameters import count_parameters
from fairseq_lskd.records.result import COLUMNS, COURSE, SCHEMA
from fairseq_lskd.scoring import score_corpus
from fairseq_lskd.scoring.validation import divergence_from_truth, read_validation
from fairseq_lskd.teachers.checkpoint import read_archive

# The last line of fairseq-validate 0.12.2.
CLOSING = (
    '2024-05-01 10:00:00 | INFO | valid | {"valid_loss": "1.54", "valid_nll_loss": "1.5", "valid_entropy": "1.696", '
    '"valid_ppl": "2.83", "valid_accuracy": "69.958", "valid_ece": "0.02289", "valid_wps": "0", "valid_note": null}\n'
)
LOG = "2024-05-01 09:59:00 | INFO | fairseq_cli.validate | loading model(s) from a.pt\n"


def test_statistics_of_a_validation(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(LOG + CLOSING.replace("1.5", "9.5") + CLOSING + "sys:1: UserWarning: some words\n")
    assert read_validation(path) == {
        **{"loss": 1.54, "nll_loss": 1.5, "entropy": 1.696, "ppl": 2.83},
        **{"accuracy": 69.958, "ece": 0.02289, "wps": 0.0},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found no line with nll_loss"),
        (LOG, "found no line with nll_loss; expected the output of fairseq-validate --log-format json"),
        (LOG + CLOSING[:90] + "\n", "expected statistics in JSON, found '2024-05-01 10:00:00"),
        ('the "nll_loss"\n', "expected statistics in JSON"),
    ],
)
def test_a_validation_without_statistics_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_validation(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_the_divergence_from_the_truth_by_hand(tmp_path: Path) -> None:
    # Two sentences with 3 and 1 pieces and the ends of sentence are 6 tokens of 2 bits: 6 ln 2 nats per sentence.
    # The truth has -3 nats per sentence.
    (tmp_path / "pieces").write_text("▁a b ▁c\n▁d\n", encoding="utf-8")
    (tmp_path / "truth.json").write_text('{"valid": {"log_prob_per_sentence": -3.0}, "test": {}}')
    found = divergence_from_truth(2.0, tmp_path / "pieces", tmp_path / "truth.json")
    assert math.isclose(found, 6 * math.log(2) - 3, rel_tol=1e-12)


class TestCommand:
    @pytest.fixture(autouse=True)
    def there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        self.run = Path("runs/word-0.1")
        assert (
            main(["run", "--out", str(self.run), "--label", "method=word", "--label", "temperature=2", "--", "true"])
            == 0
        )
        shutil.copy(teacher_path, "model.pt")
        Path("hyp").write_text("a b c d x\ne f g h\n")
        Path("ref").write_text("a b c d e\ne f g h\n")
        Path("log").write_text(LOG + CLOSING)
        Path("pieces").write_text("▁a b ▁c\n▁d\n", encoding="utf-8")
        Path("truth.json").write_text('{"valid": {"log_prob_per_sentence": -3.0}}')

    @property
    def files(self) -> list[str]:
        return ["--run", str(self.run), "--checkpoint", "model.pt", "--hypotheses", "hyp", "--references", "ref"]

    def score(self, *words: str) -> int:
        return main(["score", *self.files, *words])

    def refused(self, *words: str) -> str:
        with pytest.raises(SystemExit) as caught:
            self.score(*words)
        assert not (self.run / "result.json").exists()
        return str(caught.value.code)

    def test_the_whole_record(self, bitext: Path, capsys: pytest.CaptureFixture) -> None:
        assert self.score("--validation", "log", "--truth", "truth.json", "--pieces", "pieces") == 0
        found = json.loads((self.run / "result.json").read_text())
        versions = found.pop("versions")
        assert set(versions) == {"python", "fairseq", "torch", "sacrebleu", "sentencepiece", "numpy"}
        assert f"version:{versions['sacrebleu']}" in found["signature"]
        recorded = json.loads((self.run / "run.json").read_text())
        scores = score_corpus(["a b c d x", "e f g h"], ["a b c d e", "e f g h"])
        assert found == {
            "schema": SCHEMA,
            "system": "word-0.1",
            "role": None,
            "teacher_smoothing": None,
            "method": "word",
            "temperature": 2,
            "seed": 1,
            "parameters": count_parameters(make_model(make_task(bitext, *WIDER), *WIDER).state_dict()),
            **scores,
            "valid_ppl": 2.83,  # 2 ** 1.5
            "valid_accuracy": 69.958,
            "valid_entropy": 1.696,
            "valid_ece": 0.02289,
            "kl_to_truth": 0.12,  # 3 * 1.5 * ln 2 - 3
            "train_seconds": recorded["seconds"],
            "command": ["true"],
            "checkpoint_sha256": sha256("model.pt"),
            "teacher_sha256": None,
        }
        said = f"word-0.1: BLEU {scores['bleu']} chrF {scores['chrf']} ({scores['signature']})\n"
        assert capsys.readouterr().out == said

    def test_without_a_validation_there_is_no_perplexity(self) -> None:
        assert self.score() == 0
        assert not [key for key in json.loads((self.run / "result.json").read_text()) if "valid" in key or "kl" in key]

    def test_a_folder_without_a_run_is_refused(self) -> None:
        (self.run / "run.json").unlink()
        assert "has no run.json, which `lskd run` writes" in self.refused()

    def test_a_folder_of_plain_fairseq_train_needs_no_run(self, capsys: pytest.CaptureFixture) -> None:
        """`lskd record` reads everything from the checkpoint in the folder; a role is a label."""
        assert "--label role" in self.refused("--label", "role=student") and "run.json" in self.refused(
            "--label", "a=b"
        )
        (self.run / "run.json").unlink()
        state = read_archive("model.pt")
        state["cfg"] = {**state["cfg"], "optimization": {"max_update": 25}}
        torch.save(state, self.run / "checkpoint_best.pt")
        files = [*self.files, "--checkpoint", str(self.run / "checkpoint_best.pt")]
        assert main(["record", *files, "--label", "role=student", "--label", "size=small"]) == 0
        found = json.loads((self.run / "result.json").read_text())
        assert (found["system"], found["role"], found["size"]) == ("word-0.1", "student", "small")
        assert found["max_updates"] == 25 and "updates" not in found
        assert found["checkpoint_sha256"] == sha256(self.run / "checkpoint_best.pt") and "command" not in found
        assert "not finished" not in capsys.readouterr().err
        with pytest.raises(SystemExit, match="--label role: expected NAME=VALUE"):
            main(["record", *files, "--label", "role"])

    def test_a_checkpoint_of_another_run_is_refused(self) -> None:
        assert main(["run", "--out", "runs/other", "--", "true"]) == 0
        shutil.move("model.pt", "runs/other/checkpoint_best.pt")
        said = self.refused("--checkpoint", "runs/other/checkpoint_best.pt")
        assert "--run runs/word-0.1" in said and "give --run runs/other" in said

    def test_a_checkpoint_outside_of_the_folders_of_a_training_is_refused(self) -> None:
        """Also one of plain fairseq-train, whose folder has no record."""
        plain, saved = Path("plain"), Path("saved")
        for folder in (plain, saved, self.run / "average"):
            folder.mkdir()
            shutil.copy("model.pt", folder / "checkpoint_best.pt")
        made = json.loads((self.run / "run.json").read_text())
        for told, others in (("--save-dir=saved", " or saved"), (f"--save-dir={self.run}", ", where"), ("", " or c")):
            (self.run / "run.json").write_text(json.dumps(made | {"command": ["fairseq-train", "bin", told]}))
            said = self.refused("--checkpoint", "plain/checkpoint_best.pt")
            assert f"--checkpoint plain/checkpoint_best.pt is not in --run {self.run}{others}" in said
            assert "give --run plain. If it is of this run, move it to runs/word-0.1" in said
        (self.run / "run.json").write_text(json.dumps(made | {"command": ["fairseq-train", "--save-dir=saved"]}))
        (self.run / "linked.pt").symlink_to(Path("plain/checkpoint_best.pt").resolve())
        for own in ("saved/checkpoint_best.pt", self.run / "average/checkpoint_best.pt", self.run / "linked.pt"):
            assert self.score("--checkpoint", str(own)) == 0

    def test_the_opposite_direction_is_refused(self) -> None:
        said = self.refused("-l", "en-de")
        assert "-l en-de" in said and "expected -l de-en" in said
        assert self.score("-l", "de-en") == 0

    def test_references_in_the_source_language_are_refused(self) -> None:
        for name in ("ref.de", "ref.de.gz"):  # by its name, so it is not read
            said = self.refused("--references", name, "-l", "de-en")
            assert (
                f"--references {name} ends in .de, the source language of -l de-en: expected references in en" in said
            )
        shutil.copy("ref", "ref.de")
        assert self.score("--references", "ref.de") == 0

    def test_translations_by_another_checkpoint_are_refused(self) -> None:
        line = json.dumps({"id": 0, "source": "", "hypotheses": [], "skipped": "empty"}) + "\n"
        Path("list").write_text(line)
        Path("ref").write_text("a\n")
        made = {"lines": 1, "bytes": len(line), "teacher_path": "other.pt"}
        for digest, told in (("another", True), (sha256(Path("model.pt")), False)):
            Path("list.manifest.json").write_text(json.dumps({**made, "run": {"teacher": [digest]}}))
            said = self.refused("--hypotheses", "list")  # the right one for its empty translation
            assert ("other.pt translated them, not the present --checkpoint model.pt" in said) == told

    def test_the_checkpoint_is_read_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its content, and its bytes for the digest: for the list, the record and the exported folder."""
        hypothesis = {"tokens": "a", "text": "a", "score": -1.0, "length": 2}
        text = "".join(f"{json.dumps({'id': i, 'source': 's', 'hypotheses': [hypothesis]})}\n" for i in (0, 1))
        Path("list").write_text(text)
        made = {"lines": 2, "bytes": len(text), "teacher_path": "model.pt", "run": {"teacher": [sha256("model.pt")]}}
        Path("list.manifest.json").write_text(json.dumps(made))
        exported: dict[str, Any] = {"inputs": {"checkpoint": sha256("model.pt")}, "options": {"compute-type": "int8"}}
        exported |= {"max_positions": [9, 9], "versions": {"ctranslate2": "4.0"}}
        Path("export.json").write_text(json.dumps(exported))
        read: list[str] = []
        load, digest = torch.load, hashlib.file_digest

        def counted_load(path: Path, **more: Any) -> Any:
            read.append("load")
            return load(path, **more)

        def counted_digest(file: Any, kind: Any) -> Any:
            read.append(Path(file.name).name)
            return digest(file, kind)

        monkeypatch.setattr(torch, "load", counted_load)
        monkeypatch.setattr(hashlib, "file_digest", counted_digest)
        words = ["--hypotheses", "list", "--exported", ".", "--exported-hypotheses", "hyp", "-l", "de-en"]
        assert self.score(*words) == 0
        assert [each for each in read if each in ("load", "model.pt")] == ["model.pt", "load"]

    def test_the_truth_needs_a_validation(self) -> None:
        assert "--truth needs --validation and --pieces" in self.refused("--truth", "truth.json", "--pieces", "pieces")
        assert "--truth needs --validation and --pieces" in self.refused("--truth", "truth.json", "--validation", "log")

    def test_another_number_of_translations_is_refused(self) -> None:
        Path("hyp").write_text("a\n")
        assert self.refused().startswith("lskd score: error: hyp: found 1 hypotheses for 2 references")

    def test_other_formats_are_recorded_as_their_text(self) -> None:
        """The n-best lists of `lskd translate`, and the output of fairseq-generate."""
        texts = ["a b c d x", "e f g h"]
        hypotheses = [{"tokens": f"_{text}", "text": text, "score": -1.0, "length": 5} for text in texts]
        records = [{"id": i, "source": "s", "hypotheses": [each]} for i, each in enumerate(hypotheses)]
        Path("hyp").write_text("".join(f"{json.dumps(record)}\n" for record in records))
        wanted = score_corpus(texts, ["a b c d e", "e f g h"])
        assert main(["record", *self.files]) == 0
        assert json.loads((self.run / "result.json").read_text())["bleu"] == wanted["bleu"]
        (self.run / "result.json").unlink()
        lines = [f"S-{i}\ts\nH-{i}\t-1\t_\nD-{i}\t-1\t{texts[i]}\n" for i in (1, 0)]
        Path("hyp").write_text("".join([*lines, "Generate test with beam=5\n"]))
        assert main(["record", *self.files]) == 0
        assert json.loads((self.run / "result.json").read_text())["bleu"] == wanted["bleu"]

    def test_a_run_is_scored_against_every_reference(self) -> None:
        Path("other").write_text("a b c d x\nx\n")
        assert self.score("--references", "ref", "other") == 0
        found = json.loads((self.run / "result.json").read_text())
        expected = score_corpus(["a b c d x", "e f g h"], ["a b c d e", "e f g h"], ["a b c d x", "x"])
        assert found | expected == found and found["bleu"] == 100
        assert found["signature"].startswith("nrefs:2|") and found["chrf_signature"].startswith("nrefs:2|")
        assert main(["table", str(self.run / "result.json")]) == 0
        found["signature"] = found["signature"].replace("nrefs:2", "nrefs:1")
        found["chrf_signature"] = found["chrf_signature"].replace("nrefs:2", "nrefs:1")
        Path("one.json").write_text(json.dumps([found | {"system": "other", "checkpoint_sha256": "x"}]))
        with pytest.raises(SystemExit, match=r"nrefs:2 .*nrefs:1 .*not comparable"):
            main(["table", str(self.run / "result.json"), "one.json"])

    def test_a_further_test_set_has_a_record_and_a_table_of_its_own(self, capsys: pytest.CaptureFixture) -> None:
        self.score()
        self.score("--test-name", "news")
        own, news = self.run / "result.json", self.run / "result-news.json"
        found = json.loads(news.read_text())
        assert found.pop("test_set") == "news" and found == json.loads(own.read_text())
        assert main(["table", str(news)]) == 0 and "test set: news" in capsys.readouterr().out
        with pytest.raises(SystemExit, match=r"different test sets: the data's own .*news "):
            main(["table", str(own), str(news)])
        with pytest.raises(SystemExit, match=r"--test-name \.\./x"):
            self.score("--test-name", "../x")

    def test_a_reference_of_another_length_is_named(self) -> None:
        Path("other").write_text("a\n")
        for words in ((), ("--check",)):
            said = self.refused("--references", "ref", "ref", "other", *words)
            assert "other has 1 lines" in said and "ref has 2 lines" in said

    def test_every_reference_is_looked_for_in_the_training_text(self) -> None:
        Path("other").write_text("a b\nx y z\n")
        Path("train").write_text("x y z\n")
        said = self.refused("--references", "ref", "other", "--train", "train")
        assert "other: 1 line (2) of 2 occur in the training text" in said and "--allow-overlap" in said
        assert "ref:" not in said

    def test_more_metrics_on_demand(self) -> None:
        assert self.score("--metrics", "bleu", "chrf", "ter") == 0
        found = json.loads((self.run / "result.json").read_text())
        assert found["ter"] == 11.11 and "tok:tercom" in found["ter_signature"]  # one of nine words

    def test_an_empty_translation_is_refused_or_counted(self, capsys: pytest.CaptureFixture) -> None:
        Path("hyp").write_text("a b c d x\n\n")
        said = self.refused()
        assert "word-0.1 (hyp): 1 line (2) without a translation" in said and "--allow-empty" in said
        assert self.score("--allow-empty") == 0
        assert json.loads((self.run / "result.json").read_text())["empty_hypotheses"] == 1
        assert "warning: word-0.1 (hyp): 1 line (2) without" in capsys.readouterr().err

    def test_a_reference_of_the_training_text_is_refused(self) -> None:
        Path("train").write_text("x\nE f  g h\n")
        said = self.refused("--train", "train")
        assert "ref: 1 line (2) of 2 occur in the training text" in said and "--allow-overlap" in said
        assert self.score("--train", "train", "--allow-overlap") == 0

    def test_text_in_tokens_is_refused_unless_it_is_generated(self) -> None:
        Path("hyp").write_text("a b c .\ne f g .\n")
        assert self.score() == 0  # a model that has learnt little
        (self.run / "result.json").unlink()
        Path("ref").write_text("a b c .\ne f g .\n")
        Path("truth.json").rename("truth")  # beside the references, it would show that they are generated
        said = self.refused()
        assert "ref is tokenised" in said and "2 lines (1, 2) with a space before punctuation" in said
        assert self.score("--validation", "log", "--truth", "truth", "--pieces", "pieces") == 0

    def test_the_tokeniser_of_the_language_or_the_one_asked_for(self, capsys: pytest.CaptureFixture) -> None:
        thai = "\u0e41\u0e21\u0e27\u0e19\u0e31\u0e48\u0e07\n\u0e2b\u0e21\u0e32\u0e19\u0e31\u0e48\u0e07\n"
        for name in ("hyp", "ref"):
            Path(name).write_text(thai, encoding="utf-8")
        for words, tokeniser in (
            (("-l", "en-th"), "char"),
            ((), "char"),
            (("-l", "en-th", "--tokenize", "intl"), "intl"),
        ):
            assert self.score(*words) == 0
            assert f"|tok:{tokeniser}|" in json.loads((self.run / "result.json").read_text())["signature"]
        assert "--tokenize char" in capsys.readouterr().err  # the last is meaningless
        (self.run / "result.json").unlink()
        assert "--tokenize x: expected one of none" in self.refused("--tokenize", "x")
        assert "-l th: expected S-T" in self.refused("-l", "th")

    def test_unknown_words_are_counted(self, capsys: pytest.CaptureFixture) -> None:
        Path("hyp").write_text("a <unk> c\ne f g h\n")
        assert self.score() == 0
        assert "word-0.1 (hyp): 1 line (1) of 2 with <unk>" in capsys.readouterr().err
        assert json.loads((self.run / "result.json").read_text())["unknown_hypotheses"] == 1
        (self.run / "result.json").unlink()
        Path("ref").write_text("a <<unk>> c\ne f g h\n")
        assert "ref: 1 line (1) with <unk>" in self.refused()

    def test_a_check_before_the_run_is_decoded(self) -> None:
        words = ["score", "--run", str(self.run), "--references", "ref", "--check"]
        assert main(words) == 0 and not (self.run / "result.json").exists()
        for wrong, message in ((["--tokenize", "x"], "--tokenize x"), (["--train", "ref"], "--allow-overlap")):
            with pytest.raises(SystemExit, match=message):
                main([*words, *wrong])

    def test_a_training_that_is_not_finished_has_no_seconds(self, capsys: pytest.CaptureFixture) -> None:
        recorded = json.loads((self.run / "run.json").read_text())
        (self.run / "run.json").write_text(json.dumps({**recorded, "finished": None}))
        assert self.score() == 0
        assert "the training is not finished" in capsys.readouterr().err
        assert json.loads((self.run / "result.json").read_text())["train_seconds"] is None

    def test_any_metrics(self, capsys: pytest.CaptureFixture) -> None:
        assert self.score("--metrics", "ter") == 0
        assert "TER" in capsys.readouterr().out
        assert main(["table", str(self.run / "result.json")]) == 0
        assert "TER: nrefs:1|" in capsys.readouterr().out

    def test_the_training_losses_are_in_the_record(self) -> None:
        line = '| INFO | train | {"train_nll_loss": "2.5", "train_kd_loss": "%s", "train_num_updates": "%d"}\n'
        (self.run / "log.txt.1").write_text(line % ("9", 1) + line % ("8", 2))
        (self.run / "log.txt").write_text(line % ("0.75", 2) + "| INFO | train_inner | {}\n")
        assert self.score() == 0
        found = json.loads((self.run / "result.json").read_text())
        assert (found["train_nll_loss"], found["train_kd_loss"]) == (2.5, 0.75)

    def test_the_course_of_the_training_is_in_the_record(self) -> None:
        valid = '| INFO | valid | {"valid_loss": "%g", "valid_num_updates": "%d"}\n'
        inner = '| INFO | train_inner | {"wpb": "50", "num_updates": "%d"}\n'
        first = [inner % 10, valid % (9, 10), inner % 20, valid % (7, 20), valid % (1, 30)]
        # Killed after update 30 and resumed from update 20: the validation at 30 is replaced.
        again = [*(valid % (loss, update) for loss, update in ((6, 70), (6, 80), (4, 90), (5, 100))), inner % 100]
        (self.run / "log.txt.1").write_text("".join(first))
        (self.run / "log.txt").write_text("".join([inner % 30, valid % (6.5, 30), *again]))
        assert self.score() == 0
        found = json.loads((self.run / "result.json").read_text())
        # The loss, fairseq's default metric, fell from 6 to 4.5 in the last fifth.
        assert {name: value for name, value in found.items() if name in COLUMNS and COLUMNS[name].part == COURSE} == {
            **{"updates": 100, "target_tokens": 5000, "max_updates": None, "patience": None},
            **{"validation_metric": "loss", "validation_interval": 10, "validation_best": 4.0},
            **{"last_fifth_gain": 1.5, "converged": False},
        }

    def test_options_for_files_and_for_runs_exclude_each_other(self, capsys: pytest.CaptureFixture) -> None:
        assert self.refused("-t", "wmt14", "--baseline", "a") == "2"
        said = capsys.readouterr().err
        assert "-t wmt14" in said and "--baseline a" in said
        assert main(["record", *self.files]) == 0  # the current name of `lskd score --run`
        with pytest.raises(SystemExit):
            main(["score", "a.en", "--run", str(self.run)])
        assert "a.en" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            main(["score", "hyp", "-r", "ref", "--checkpoint", "model.pt"])
        assert "--checkpoint" in capsys.readouterr().err

    @pytest.mark.parametrize("name", ["model.pt", "hyp", "ref", "log", "pieces", "truth.json"])
    def test_a_file_that_is_not_there_is_named(self, name: str) -> None:
        Path(name).unlink()
        said = self.refused("--validation", "log", "--truth", "truth.json", "--pieces", "pieces")
        assert said.startswith("lskd score: error: ") and name in said
