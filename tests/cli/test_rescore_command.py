"""`lskd rescore` with real, tiny models."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from fairseq_lskd.cli import main
from fairseq_lskd.sequences.nbest import read_nbest
from fairseq_lskd.sequences.pair_scores import UNSCORED
from fairseq_lskd.teachers.alone import load_teacher

pytest.importorskip("ctranslate2")

SETTINGS = ["--device", "cpu", "--threads", "1", "--max-tokens", "60"]


@pytest.fixture(scope="module")
def teacher(bitext: Path) -> Path:
    from trained import trained_teacher

    return trained_teacher(bitext)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def translated(bitext: Path, teacher: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The teacher's two best translations of the training side."""
    out = tmp_path_factory.mktemp("translated") / "nbest.jsonl"
    words = ["translate", bitext, "--teacher-path", teacher, "--cache-dir", cache, "--nbest", "2", "--out", out]
    # Without a forbidden end mark, of which the other tokens would have the probability.
    assert main([*map(str, words), *SETTINGS, "--compute-type", "float32", "--workers", "1", "--min-len", "0"]) == 0
    return out


@pytest.fixture(autouse=True)
def folder(translated: Path, bitext: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in translated.parent.glob("nbest*"):
        shutil.copyfile(file, file.name)
    for language in ("de", "en"):
        shutil.copyfile(bitext.parent / f"train.{language}", f"train.{language}")


@pytest.fixture
def words(teacher: Path, cache: Path) -> list[str]:
    return ["--teacher-path", str(teacher), "--cache-dir", str(cache), *SETTINGS]


def rescore(*words: Any, nbest: str = "nbest.jsonl", out: str = "scores.jsonl") -> list[list[float]]:
    assert main(["rescore", nbest, "--out", out, *map(str, words)]) == 0
    text = gzip.decompress(Path(out).read_bytes()).decode() if out.endswith(".gz") else Path(out).read_text()
    return [json.loads(line) for line in text.splitlines()]


def refused(*words: Any, nbest: str = "nbest.jsonl", out: str = "scores.jsonl") -> str:
    with pytest.raises(SystemExit) as caught:
        main(["rescore", nbest, "--out", out, *map(str, words)])
    assert not Path(out).exists() and str(caught.value.code).startswith("lskd rescore: error: ")
    return str(caught.value.code)


def manifest(out: str = "scores.jsonl") -> dict[str, Any]:
    return json.loads(Path(f"{out}.manifest.json").read_text())


def plain(path: Path | str, source: str, target: str) -> list[float]:
    """Log-probabilities of the target's tokens by the plainest means: one sentence, no padding, in float64."""
    teacher = load_teacher(str(path))
    sides = ((teacher.task.source_dictionary, source), (teacher.task.target_dictionary, target))
    source_ids, target_ids = (side.encode_line(line, add_if_not_exist=False).long() for side, line in sides)
    previous = torch.cat([target_ids[-1:], target_ids[:-1]])[None]
    total: Any = 0
    for model in teacher.models:
        with torch.no_grad():
            logits = model(source_ids[None], torch.tensor([len(source_ids)]), previous)[0]
        total = total + torch.softmax(logits[0].double(), -1)
    return (total / len(teacher.models))[torch.arange(len(target_ids)), target_ids].log().tolist()


def test_some_unknown_tokens_give_a_warning(words: list[str], capsys: pytest.CaptureFixture) -> None:
    records = list(read_nbest(Path("nbest.jsonl")))
    for record in records[::8]:
        record["source"] = " ".join("another" for _ in record["source"].split())
    Path("other.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    rescore(*words, nbest="other.jsonl")
    assert "warning: other.jsonl, which is the source side of the scoring model" in (said := capsys.readouterr().err)
    assert "reads them as <unk>" in said and said.count("warning") == 1
    rescore(*words, out="same.jsonl")
    assert "warning" not in capsys.readouterr().err


def test_a_teacher_gives_its_own_translations_the_scores_that_it_found(
    words: list[str], capsys: pytest.CaptureFixture
) -> None:
    found = rescore(*words)
    for record, scores in zip(read_nbest(Path("nbest.jsonl")), found, strict=True):
        assert scores == pytest.approx([each["score"] for each in record["hypotheses"]], abs=1e-4)
    said = capsys.readouterr().err
    for fact in ("scores.jsonl", "ctranslate2", "60 sentences", "120 pairs", "sentences/s"):
        assert fact in said
    made = manifest()
    assert made["counts"]["pairs"] == 120 and made["run"]["score"] == "log p(hypothesis | source) per token"
    assert {"NBEST", "teacher", "dictionaries", "engine"} <= made["run"].keys()
    assert {"seconds", "settings", "command", "versions"} <= made.keys()

    assert rescore(*words) == found and "up to date" in capsys.readouterr().err
    assert "score" in refused_to_replace("--sum", *words)


def refused_to_replace(*words: Any) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["rescore", "nbest.jsonl", "--out", "scores.jsonl", *map(str, words)])
    return str(caught.value.code)


@pytest.mark.parametrize("engine", ["ctranslate2", "fairseq"])
def test_references_are_scored_as_forced_decoding_by_hand_does(words: list[str], teacher: Path, engine: str) -> None:
    pairs = list(zip(Path("train.de").read_text().splitlines(), Path("train.en").read_text().splitlines(), strict=True))
    text = ("--format", "text", "--source", "train.de", "--engine", engine)
    per_token = rescore(*text, *words, nbest="train.en")
    summed = rescore(*text, *words, "--sum", nbest="train.en", out="summed.jsonl.gz")
    for (source, target), mean, total in list(zip(pairs, per_token, summed, strict=True))[:12]:
        wanted = plain(teacher, source, target)
        assert mean == pytest.approx([sum(wanted) / len(wanted)], abs=1e-4)
        assert total == pytest.approx([sum(wanted)], abs=1e-3)


def test_an_ensemble(bitext: Path, teacher: Path, words: list[str]) -> None:
    from trained import trained_teacher

    both = f"{teacher}:{trained_teacher(bitext, seed=3, updates=60)}"
    found = rescore("--format", "text", "--source", "train.de", *words, "--teacher-path", both, nbest="train.en")
    assert manifest()["run"]["engine"].startswith("fairseq") and len(manifest()["run"]["teacher"]) == 2
    lines = (Path(f"train.{language}").read_text().splitlines() for language in ("de", "en"))
    for source, target, scores in list(zip(*lines, found, strict=True))[:5]:
        wanted = plain(both, source, target)
        assert scores == pytest.approx([sum(wanted) / len(wanted)], abs=1e-4)


def test_a_backward_model_scores_the_source(words: list[str], teacher: Path) -> None:
    # The teacher reads "de": it is the backward model of a list whose translations are German.
    pairs = list(zip(Path("train.de").read_text().splitlines(), Path("train.en").read_text().splitlines(), strict=True))
    records = [
        {
            "id": i,
            "source": english,
            "hypotheses": [
                {"tokens": text, "text": text, "score": -1.0, "length": len(text.split()) + 1}
                for text in (german, pairs[(i + 1) % 60][0])
            ],
        }
        for i, (german, english) in enumerate(pairs)
    ]
    Path("back.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    found = rescore("--backward", *words, nbest="back.jsonl")
    assert manifest()["run"]["score"] == "log p(source | hypothesis) per token"
    for (german, english), scores in list(zip(pairs, found, strict=True))[:5]:
        wanted = plain(teacher, german, english)
        assert scores[0] == pytest.approx(sum(wanted) / len(wanted), abs=1e-4)
    # Its own translation explains a source better than that of another sentence.
    assert sum(own > other for own, other in found) > 50


def test_a_contrast_finds_translations_that_do_not_depend_on_their_source(words: list[str]) -> None:
    lines = Path("train.en").read_text().splitlines()
    Path("wrong.en").write_text("".join(f"{line}\n" for line in [*lines[30:], *lines[:30]]))
    text = ("--contrast", "--format", "text", "--source", "train.de")
    right = [each for scores in rescore(*text, *words, nbest="train.en") for each in scores]
    wrong = [each for scores in rescore(*text, *words, nbest="wrong.en", out="wrong.jsonl") for each in scores]
    assert sum(each > 0 for each in right) > 50 > 40 > sum(each > 0 for each in wrong)


def test_a_killed_run_continues_to_the_same_bytes(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from fairseq_lskd.sequences import resumable

    rescore(*words, "--window", 7, out="whole.jsonl.gz")
    append, calls = resumable.ResumableFile.append, []

    def killed(self: Any, lines: Any, state: Any) -> None:
        append(self, lines, state)
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(resumable.ResumableFile, "append", killed)
        with pytest.raises(SystemExit):
            main(["rescore", "nbest.jsonl", "--out", "cut.jsonl.gz", *words, "--window", "7"])
    assert not Path("cut.jsonl.gz").exists() and Path("cut.jsonl.gz.journal.json").exists()
    capsys.readouterr()
    # Settings are those of the run that is continued, whatever the machine has now.
    rescore(*words, "--window", 7, out="cut.jsonl.gz")
    assert "21" in capsys.readouterr().err
    assert Path("cut.jsonl.gz").read_bytes() == Path("whole.jsonl.gz").read_bytes()
    whole, cut = manifest("whole.jsonl.gz"), manifest("cut.jsonl.gz")
    assert whole["counts"] == cut["counts"] and whole["sum"] == pytest.approx(cut["sum"], abs=1e-5)
    assert not [path for path in Path().iterdir() if "partial" in path.name or "journal" in path.name]


def test_text_is_split_by_the_models_of_either_side(words: list[str], tmp_path: Path) -> None:
    import sentencepiece

    letters = tmp_path / "letters.model"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["abc defg hij"] * 5), model_prefix=str(letters.with_suffix("")), vocab_size=14,
        model_type="char", hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    # Its pieces are no words of the teacher's dictionary.
    said = refused(*words, "--sentencepiece-source", letters)
    assert "nbest.jsonl" in said and "source side" in said and "--sentencepiece-source" in said
    # Pieces of subword-nmt would be split as text.
    found = [json.loads(line) for line in Path("nbest.jsonl").read_text(encoding="utf-8").splitlines()]
    for each in found:
        each["source"] = f"a@@ {each['source']}"
    Path("pieces.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in found), encoding="utf-8")
    said = refused(*words, "--sentencepiece-source", letters, nbest="pieces.jsonl")
    assert "pieces.jsonl" in said and "--remove-bpe subword_nmt" in said


def test_lists_of_other_software_with_empty_lines(words: list[str]) -> None:
    Path("out.en").write_text("".join(f"{line}\n" for line in ["", *Path("train.en").read_text().splitlines()[1:]]))
    found = rescore("--format", "text", "--source", "train.de", *words, nbest="out.en")
    assert found[0] == [UNSCORED] and UNSCORED not in found[1]
    assert manifest()["counts"]["empty"] == 1


def test_a_model_folder_of_ctranslate2_scores_as_its_checkpoint_does(words: list[str], cache: Path) -> None:
    found = rescore(*words)
    model = next(path for path in cache.iterdir() if path.is_dir())
    assert rescore("--model", model, *SETTINGS, out="model.jsonl") == found
    # What the model is forced to begin with is not scored: it changes the scores, not their number.
    marked = rescore("--model", model, *SETTINGS, "--target-prefix", "C", out="marked.jsonl")
    assert marked != found and [len(scores) for scores in marked] == [2] * 60


def test_lists_of_the_same_sentences_are_joined_as_lskd_select_joins_them(words: list[str]) -> None:
    records = list(read_nbest(Path("nbest.jsonl")))
    for record in records:
        record["hypotheses"] = [
            record["hypotheses"][0],
            {"tokens": "A END", "text": "A END", "score": -9.0, "length": 3},
        ]
    Path("more.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    assert main(["rescore", "nbest.jsonl", "more.jsonl", "--out", "scores.jsonl", *words]) == 0
    assert {"NBEST", "NBEST 2"} <= manifest()["run"].keys()
    chosen = ["-s", "de", "-t", "en", "--filter-worst", "scores.jsonl", "0.4", "--out", "selected"]
    with pytest.raises(SystemExit) as caught:
        main(["select", "nbest.jsonl", *chosen])
    assert "--filter-worst scores.jsonl" in str(caught.value.code)
    assert main(["select", "nbest.jsonl", "more.jsonl", *chosen]) == 0
    report = json.loads(Path("selected/report.json").read_text())
    (dropped,) = report["dropped"].values()
    assert dropped["hypotheses"] == int(0.4 * report["hypotheses"]["read"])


@pytest.mark.parametrize(
    ("more", "facts"),
    [
        (["--format", "text"], ["--source", "--format text"]),
        (["--backward", "--contrast"], ["--backward", "--contrast"]),
        (["--nbest", "2"], ["--nbest", "--format text"]),
    ],
)
def test_options_that_exclude_each_other(words: list[str], more: list[str], facts: list[str]) -> None:
    said = refused(*words, *more)
    assert all(fact in said for fact in facts)


def test_one_model_is_needed(words: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match=r"--teacher-path .* --model"):
        main(["rescore", "nbest.jsonl", "--out", "scores.jsonl"])
    with pytest.raises(SystemExit) as caught:
        main(["rescore", "nbest.jsonl", "--out", "scores.jsonl", *words, "--model", "folder"])
    said = capsys.readouterr().err
    assert caught.value.code == 2 and "--teacher-path" in said and "--model" in said


def test_pairs_of_another_vocabulary_are_refused(words: list[str]) -> None:
    # A backward model of the wrong direction reads what it does not know. The list does not tell its direction.
    Path("nbest.jsonl.manifest.json").unlink()
    said = refused("--backward", *words)
    assert "nbest.jsonl" in said and "100 %" in said and "--sentencepiece-source" in said
    Path("raw.de").write_text("Ein Satz .\n" * 60)
    said = refused("--format", "text", "--source", "raw.de", *words, nbest="train.en")
    assert "--source raw.de, which is the source side of the scoring model" in said and "train.en" not in said
    said = refused("--format", "text", "--source", "train.de", *words, nbest="raw.de")
    assert "error: raw.de, which is the target side of the scoring model" in said


def test_a_file_of_another_format_is_refused_with_the_option() -> None:
    said = refused("--teacher-path", "none.pt", nbest="train.en")
    assert "train.en is not a list of `lskd translate`" in said and "Give --format text --source FILE" in said


def test_a_model_of_the_wrong_direction_is_refused(words: list[str], teacher: Path) -> None:
    said = refused("--backward", *words)
    assert "nbest.jsonl has translations de-en, for which --backward needs a model en-de" in said
    assert f"{teacher} translates de-en" in said and "leave out --backward" in said
    record = Path("nbest.jsonl.manifest.json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"translates": "en-de"}))
    said = refused(*words)
    assert "nbest.jsonl has translations en-de" in said and "needs a model en-de" in said and "add --backward" in said


def test_scores_that_are_no_numbers_are_refused(teacher: Path, words: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(teacher.parent, broken)
    state = torch.load(broken / teacher.name, weights_only=False)
    state["model"]["decoder.layers.0.fc1.weight"][:] = 3e38
    torch.save(state, broken / teacher.name)
    refused(*words, "--teacher-path", broken / teacher.name)
