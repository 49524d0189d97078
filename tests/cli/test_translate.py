"""`lskd translate` with a real, tiny teacher."""

from __future__ import annotations

import gc
import gzip
import json
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences import resumable
from fairseq_lskd.sequences.nbest import read_nbest

pytest.importorskip("ctranslate2")

#: All settings of the engine, so that the measurement, which takes most of the time, is left out.
SETTINGS = ["--device", "cpu", "--compute-type", "float32", "--workers", "1", "--threads", "1", "--max-tokens", "60"]


@pytest.fixture(scope="module")
def teacher(bitext: Path) -> Path:
    from trained import trained_teacher

    return trained_teacher(bitext)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def words(bitext: Path, teacher: Path, cache: Path) -> list[str]:
    return ["translate", str(bitext), "--teacher-path", str(teacher), "--cache-dir", str(cache), *SETTINGS]


def read(name: str) -> list[dict[str, Any]]:
    return list(read_nbest(Path(name)))


def manifest(name: str) -> dict[str, Any]:
    return json.loads(Path(f"{name}.manifest.json").read_text())


def refused(words: list[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert str(caught.value.code).startswith("lskd translate: error: ")
    return str(caught.value.code).removeprefix("lskd translate: error: ")


def test_a_binarised_split(words: list[str], bitext: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([*words, "--out", "new/out.jsonl", "--nbest", "2", "--token-scores"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(
        r"out.jsonl \| de-en, ctranslate2 \S+, cpu float32, 1 worker of 1 thread\(s\), batches of 60 tokens\n"
        r"out.jsonl \| 60 sentences, [\d,]+ per second\n",
        said.err,
    )
    records = read("new/out.jsonl")
    sources = (bitext.parent / "train.de").read_text().splitlines()
    assert [record["source"] for record in records] == sources
    # The teacher has nearly memorised them.
    references = (bitext.parent / "train.en").read_text().splitlines()
    right = [record["hypotheses"][0]["text"] == line for record, line in zip(records, references, strict=True)]
    assert sum(right) > 10
    for record in records:
        assert len(record["hypotheses"]) == 2
        for hypothesis in record["hypotheses"]:
            assert len(hypothesis["token_scores"]) == hypothesis["length"] == len(hypothesis["tokens"].split()) + 1
    found = manifest("new/out.jsonl")
    assert (found["lines"], found["bytes"]) == (60, Path("new/out.jsonl").stat().st_size)
    assert found["counts"]["hypotheses"] == 120 and found["translates"] == "de-en"
    assert {"run", "settings", "measured", "seconds", "corpus", "command", "versions"} <= found.keys()
    assert sorted(path.name for path in Path("new").iterdir()) == ["out.jsonl", "out.jsonl.manifest.json"]

    assert main([*words, "--out", "new/out.jsonl", "--nbest", "2", "--token-scores"]) == 0
    assert capsys.readouterr().err == "out.jsonl | up to date\n"
    said = refused([*words, "--out", "new/out.jsonl", "--nbest", "3"])
    assert re.search(r"--out new/out\.jsonl .*nbest: 2, now 3", said)
    assert "LSKD_REPLACE=1" in said


def test_both_engines_write_the_same_records(words: list[str]) -> None:
    assert main([*words, "--out", "fast.jsonl", "--subset", "valid", "--min-len", "0"]) == 0
    assert main([*words, "--out", "slow.jsonl", "--subset", "valid", "--min-len", "0", "--engine", "fairseq"]) == 0
    for one, two in zip(read("fast.jsonl"), read("slow.jsonl"), strict=True):
        (ours,), (theirs,) = one.pop("hypotheses"), two.pop("hypotheses")
        assert one == two and ours.pop("score") == pytest.approx(theirs.pop("score"), abs=1e-4)
        assert ours == theirs


@pytest.fixture
def unsure(teacher: Path, bitext: Path, tmp_path: Path) -> Path:
    """A teacher that generates <unk> instead of END, the last word of every sentence."""
    import torch
    from fairseq.data import Dictionary

    folder = tmp_path / "unsure"
    shutil.copytree(teacher.parent, folder)
    state = torch.load(folder / teacher.name, weights_only=False)
    rows = state["model"]["decoder.output_projection.weight"]
    dictionary = Dictionary.load(str(bitext / "dict.en.txt"))
    rows[dictionary.unk()] = 1.1 * rows[dictionary.index("END")]
    torch.save(state, folder / teacher.name)
    return folder / teacher.name


def test_unknown_words_are_counted_and_forbidden(words: list[str], unsure: Path, capsys: pytest.CaptureFixture) -> None:
    words[words.index("--teacher-path") + 1] = str(unsure)
    words = [*words, "--subset", "valid", "--min-len", "0", "--cache-dir", "models"]
    assert main([*words, "--out", "with.jsonl"]) == 0
    counts = manifest("with.jsonl")["counts"]
    assert counts["sentences with <unk>"] == counts["hypotheses with <unk>"] > 0
    said = capsys.readouterr().err
    assert f"{counts['sentences with <unk>']} sentences have <unk>" in said
    assert "scripts/translate.sh ... -- --unkpen inf" in said and "distill_seq.sh --translations" in said
    assert (
        sum("<unk>" in record["hypotheses"][0]["text"] for record in read("with.jsonl"))
        == counts["sentences with <unk>"]
    )

    for engine in ("ctranslate2", "fairseq"):
        assert main([*words, "--out", f"{engine}.jsonl", "--unkpen", "inf", "--engine", engine]) == 0
        assert "sentences with <unk>" not in manifest(f"{engine}.jsonl")["counts"]
        assert manifest(f"{engine}.jsonl")["run"]["unkpen"] == "inf"
        assert "have <unk>" not in capsys.readouterr().err
    for one, two in zip(read("ctranslate2.jsonl"), read("fairseq.jsonl"), strict=True):
        (ours,), (theirs,) = one["hypotheses"], two["hypotheses"]
        # Scores are normalised over the whole vocabulary, including the forbidden <unk>.
        assert ours["tokens"] == theirs["tokens"] and ours["score"] == pytest.approx(theirs["score"], abs=1e-4)
    assert main([*words, "--out", "some.jsonl", "--unkpen", "20"]) == 0
    said = capsys.readouterr().err
    assert "translating with fairseq: CTranslate2" in said and "--unkpen" in said
    assert [record["hypotheses"] for record in read("some.jsonl")] == [
        record["hypotheses"] for record in read("fairseq.jsonl")
    ]
    assert "unkpen" not in manifest("with.jsonl")["run"]  # as in manifests of versions without this option


@pytest.fixture
def deaf(teacher: Path, tmp_path: Path) -> Path:
    """A teacher whose decoder does not see the source."""
    import torch

    folder = tmp_path / "deaf"
    shutil.copytree(teacher.parent, folder)
    state = torch.load(folder / teacher.name, weights_only=False)
    for name, values in state["model"].items():
        if "encoder_attn.out_proj" in name:
            values.zero_()
    torch.save(state, folder / teacher.name)
    return folder / teacher.name


def test_a_teacher_that_writes_one_sentence_is_warned_of(
    words: list[str], deaf: Path, capsys: pytest.CaptureFixture
) -> None:
    words[words.index("--teacher-path") + 1] = str(deaf)
    assert main([*words, "--cache-dir", "models", "--out", "out.jsonl"]) == 0
    text = read("out.jsonl")[0]["hypotheses"][0]["text"]
    said = capsys.readouterr().err
    assert f"warning: out.jsonl: 60 of 60 translations are the same, {text[:60]!r}" in said


def test_text_with_sentences_that_are_skipped(words: list[str]) -> None:
    lines = ["a b", "", "x y", "a " * 1024, "a " * 1023, " ", "c"]
    Path("corpus.de.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    words[1] = "corpus.de.gz"
    for engine in ("ctranslate2", "fairseq"):
        out = f"{engine}.jsonl.gz"
        assert main([*words, "--out", out, "--engine", engine, "--max-len-b", "5"]) == 0
        records = read(out)
        assert [record["source"] for record in records] == lines
        assert [record.get("skipped") for record in records] == [None, "empty", None, "too long", None, "empty", None]
        assert manifest(out)["counts"]["empty"] == 2 and manifest(out)["counts"]["too long"] == 1
    assert main([*words, "--out", "short.jsonl", "--max-source-positions", "3"]) == 0
    assert [record.get("skipped") for record in read("short.jsonl")].count("too long") == 2
    assert main([*words, "--out", "first.jsonl", "--limit", "3"]) == 0
    assert len(read("first.jsonl")) == 3


def test_a_ctranslate2_model_folder(words: list[str], bitext: Path, cache: Path) -> None:
    assert main([*words, "--out", "checkpoint.jsonl", "--subset", "valid"]) == 0
    model = next(path for path in cache.iterdir() if path.is_dir())
    source = bitext.parent / "valid.de"
    words = ["translate", str(source), "--model", str(model), *SETTINGS]
    assert main([*words, "--out", "model.jsonl"]) == 0
    assert Path("model.jsonl").read_bytes() == Path("checkpoint.jsonl").read_bytes()
    assert main([*words, "--out", "marked.jsonl", "--source-prefix", "a b", "--target-prefix", "C"]) == 0
    assert Path("marked.jsonl").read_bytes() != Path("model.jsonl").read_bytes()

    # A folder as ct2-transformers-converter writes it.
    shutil.copytree(model, "transformers")
    config = json.loads((model / "config.json").read_text())
    Path("transformers/config.json").write_text(json.dumps(config | {"add_source_eos": False}))
    words = ["translate", str(source), "--model", "transformers", *SETTINGS, "--out", "suffix.jsonl"]
    assert "--source-suffix ('</s>' for most models)" in refused(words)
    assert main([*words, "--source-suffix", "</s>"]) == 0
    assert Path("suffix.jsonl").read_bytes() == Path("checkpoint.jsonl").read_bytes()


def test_raw_text_through_sentencepiece(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import sentencepiece

    monkeypatch.setattr("fairseq_lskd.sequences.segmentation.UNKNOWN", 1)  # this teacher's pieces are bare letters
    Path("text").write_text("a b c d e\nj i h g f\n" * 20)
    sentencepiece.SentencePieceTrainer.train(input="text", model_prefix="spm", vocab_size=14, minloglevel=2)
    words[1] = "text"
    assert main([*words, "--out", "out.jsonl", "--sentencepiece", "spm.model", "--limit", "2"]) == 0
    records = read("out.jsonl")
    assert [record["source"] for record in records] == ["a b c d e", "j i h g f"]
    assert manifest("out.jsonl")["run"]["sentencepiece-source"] == manifest("out.jsonl")["run"]["sentencepiece-target"]

    # Text in pieces is not segmented again.
    Path("pieces").write_text("▁a ▁b\n▁c\n▁d\n")
    words[1] = "pieces"
    said = refused([*words, "--out", "pieces.jsonl", "--sentencepiece", "spm.model"])
    assert said.startswith("pieces is in SentencePiece pieces, not raw text") and "--sentencepiece-target" in said
    assert main([*words, "--out", "pieces.jsonl", "--sentencepiece-target", "spm.model"]) == 0


def test_a_binarised_folder_is_in_pieces(words: list[str], bitext: Path) -> None:
    import sentencepiece

    text = str(bitext.parent / "train.en")
    sentencepiece.SentencePieceTrainer.train(input=text, model_prefix="spm", vocab_size=17, minloglevel=2)
    words = [*words, "--subset", "valid"]
    assert main([*words, "--out", "out.jsonl", "--sentencepiece", "spm.model"]) == 0
    assert main([*words, "--out", "plain.jsonl"]) == 0
    for one, two in zip(read("out.jsonl"), read("plain.jsonl"), strict=True):
        assert one["source"] == two["source"]
        assert one["hypotheses"][0]["tokens"] == two["hypotheses"][0]["tokens"]
    said = refused([*words, "--out", "other.jsonl", "--sentencepiece-source", "spm.model"])
    assert said.startswith("--sentencepiece-source is for raw text")


def test_settings_are_measured_and_a_plan_is_printed(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("fairseq_lskd.sequences.measure.SECONDS", 0.01)
    monkeypatch.setattr("fairseq_lskd.sequences.measure.ALL", 1e9)
    words = [*words[: -len(SETTINGS)], "--device", "cpu", "--threads", "2", "--out", "out.jsonl"]
    assert main([*words, "--window", "10", "--num-shards", "4", "--plan"]) == 0
    assert re.fullmatch(
        r"sentences  60 \(317 pieces\), skipping 0 empty and 0 too long\n"
        r"engine     ctranslate2 \S+, cpu (int8|float32), .* \(fastest of 5 settings\)\n"
        r"rate       [\d,]+ sentences/s on a sample\n"
        r"shards     4, of up to 20 sentences\n"
        r"time       00:\d\d, 00:\d\d per shard\n",
        capsys.readouterr().out,
    )
    assert not list(Path().iterdir())
    # Without --out too, also if no folder for the converted model is given.
    cache = words.index("--cache-dir")
    without_out = [*words[:cache], *words[cache + 2 : -2]]
    assert main([*without_out, "--plan"]) == 0
    assert "shards     1, of up to 60 sentences" in capsys.readouterr().out and not list(Path().iterdir())
    assert main(words) == 0
    assert len(manifest("out.jsonl")["measured"]) == 5
    assert manifest("out.jsonl")["settings"] in [
        {name: value for name, value in row.items() if name not in ("sentences_per_second", "loss")}
        for row in manifest("out.jsonl")["measured"]
    ]


@pytest.mark.parametrize(("given", "cores"), [("1", 1), ("3,2", 3), ("", 5), ("many", 5), ("0", 5)])
def test_cores_are_shared_by_omp_num_threads(given: str, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from fairseq_lskd.sequences.loading import ModelRequest

    monkeypatch.setattr("fairseq_lskd.machine.cores", lambda: 5)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(5)))
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert ModelRequest(out=Path("out"), teacher_path="a.pt").cores == cores
    assert ModelRequest(out=Path("out"), teacher_path="a.pt", threads=2).cores == 2


def test_equal_samples_are_written_once_with_their_count(words: list[str]) -> None:
    search = ["--sampling", "--beam", "8", "--nbest", "8", "--temperature", "0.3"]
    assert main([*words, *search, "--out", "all.jsonl"]) == 0
    assert main([*words, *search, "--merge-duplicates", "--out", "merged.jsonl"]) == 0
    for one, two in zip(read("all.jsonl"), read("merged.jsonl"), strict=True):
        texts = [each["text"] for each in two["hypotheses"]]
        counts = Counter(each["text"] for each in one["hypotheses"])
        assert len(texts) == len(set(texts))
        assert {each["text"]: each.get("count", 1) for each in two["hypotheses"]} == counts
    assert any("count" in each for record in read("merged.jsonl") for each in record["hypotheses"])


@pytest.mark.parametrize("out", ["out.jsonl", "out.jsonl.gz"])
@pytest.mark.parametrize(
    "search", [["--nbest", "2"], ["--sampling", "--beam", "2"], ["--sampling", "--engine", "fairseq"]], ids=" ".join
)
def test_shards_are_the_parts_of_one_run(words: list[str], out: str, search: list[str]) -> None:
    words = [*words, *search, "--window", "9"]
    assert main([*words, "--out", f"whole-{out}"]) == 0
    for index in (2, 0, 1):
        assert main([*words, "--out", out, "--num-shards", "3", "--shard-id", str(index)]) == 0
    assert main(["translate", "--merge", "--out", out, "--num-shards", "3"]) == 0
    assert Path(out).read_bytes() == Path(f"whole-{out}").read_bytes()
    ours, theirs = manifest(out), manifest(f"whole-{out}")
    for name in ("lines", "bytes", "counts", "translates"):
        assert ours[name] == theirs[name]


@pytest.mark.parametrize(
    "search", [["--nbest", "2"], ["--sampling", "--beam", "2"], ["--sampling", "--engine", "fairseq"]], ids=" ".join
)
def test_a_killed_run_is_resumed(
    words: list[str], search: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    words = [*words, *search, "--window", "7"]
    assert main([*words, "--out", "whole.jsonl"]) == 0
    append = resumable.ResumableFile.append
    refused = []
    for after in (0, 1, 2, 4):
        calls = 0

        def killed(*args: Any, after: int = after) -> None:
            nonlocal calls
            if calls == after:
                raise KeyboardInterrupt
            calls += 1
            append(*args)

        with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:
            patch.setattr(resumable.ResumableFile, "append", killed)
            main([*words, "--out", "out.jsonl"])
        refused.append(caught)  # its traceback refers to the file, whose lock must be gone all the same
        assert not Path("out.jsonl").exists()
        with Path("out.jsonl.partial").open("ab") as stream:
            stream.write(b'{"id": 3')
    assert main([*words, "--out", "out.jsonl"]) == 0
    assert "out.jsonl | resuming after 42 sentences\n" in capsys.readouterr().err
    assert Path("out.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    assert manifest("out.jsonl")["counts"] == manifest("whole.jsonl")["counts"]


@pytest.mark.parametrize("engine", ["ctranslate2", "fairseq"])
def test_a_run_on_a_gpu_is_not_resumed_without_one(
    words: list[str], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: 0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = [*words[: -len(SETTINGS)], *SETTINGS[2:], "--engine", engine, "--window", "7", "--out", "out.jsonl"]

    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("fairseq_lskd.sequences.translate.Translator.translate", killed)
        main(words)
    journal = Path("out.jsonl.journal.json")
    record = json.loads(journal.read_text())
    record["state"]["settings"]["device"] = "cuda"
    journal.write_text(json.dumps(record))
    said = refused(words)
    assert all(fact in said for fact in ("out.jsonl was started on cuda", "no GPU", "delete out.jsonl*"))


@pytest.mark.parametrize("lines", [["a b"] * 9, ["a b"] * 40, ["c"] * 30], ids=["fewer", "more", "others"])
def test_a_corpus_that_changes_is_refused(words: list[str], lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Path("corpus.de")
    corpus.write_text("a b\n" * 30)
    words = [words[0], "corpus.de", *words[2:], "--window", "7", "--out", "out.jsonl"]
    append = resumable.ResumableFile.append

    def change(*args: Any) -> None:
        append(*args)
        corpus.write_text("".join(f"{line}\n" for line in lines))

    with monkeypatch.context() as patch:
        patch.setattr(resumable.ResumableFile, "append", change)
        said = refused(words)
    assert "corpus.de" in said and "30" in said and str(len(lines)) in said
    assert not Path("out.jsonl").exists() and not Path("out.jsonl.manifest.json").exists()

    # With the original text, it is resumed, and contains nothing of the changed text.
    gc.collect()  # the exception keeps the lock alive
    corpus.write_text("a b\n" * 30)
    assert main(words) == 0
    assert [record["source"] for record in read("out.jsonl")] == ["a b"] * 30


@pytest.mark.slow
def test_a_run_that_is_killed_by_the_system_loses_nothing(words: list[str]) -> None:
    words = [*words, "--window", "2", "--nbest", "5", "--max-tokens", "10"]
    assert main([*words, "--out", "whole.jsonl"]) == 0
    command = [sys.executable, "-m", "fairseq_lskd.cli", *words, "--out", "out.jsonl"]
    chance, journal = random.Random(1), Path("out.jsonl.journal.json")
    for _ in range(3):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        begun = json.loads(journal.read_text())["lines"] if journal.exists() else 0
        wanted = begun + chance.randint(2, 20)
        while process.poll() is None:
            if journal.exists() and json.loads(journal.read_text())["lines"] >= wanted:
                process.send_signal(signal.SIGKILL)
        process.wait()
    assert subprocess.run(command, stderr=subprocess.DEVNULL, timeout=120).returncode == 0
    assert Path("out.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--beam", "0"], "--beam 0: expected 1 or more"),
        (["--window", "0"], "--window 0: expected 1 or more"),
        (["--sampling", "--sampling-topk", "16"], "--sampling-topk 16: expected at most 15, the teacher's vocabulary"),
        (["--num-shards", "3"], "--num-shards 3: expected at most 1"),
        (["--subset", "test"], "has no split 'test' in de"),
        (["--source-prefix", "__de__"], "--source-prefix needs --model"),
        (["--engine", "ctranslate2", "--diverse-beam-groups", "5"], "does not support diverse beam search"),
        (["--engine", "fairseq", "--compute-type", "int8"], "--compute-type int8: fairseq supports float32"),
        (["--sentencepiece", "none.model"], "--sentencepiece none.model: cannot be read (No such file"),
        (["--source-lang", "fr"], "needs dict.fr.txt and dict.en.txt in one folder"),
        (["--teacher-data", "none"], "--teacher-data none: expected the teacher's dictionary at none/dict.de.txt"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_named_and_leave_nothing(words: list[str], more: list[str], said: str) -> None:
    assert said in refused([*words, "--out", "out.jsonl", *more])
    assert not Path("out.jsonl").exists() and not Path("out.jsonl.manifest.json").exists()


def test_a_corpus_of_another_vocabulary(words: list[str], bitext: Path) -> None:
    Path("raw.de").write_text("Ein Satz, wie man ihn schreibt .\n" * 5, encoding="utf-8")
    said = refused([words[0], "raw.de", *words[2:], "--out", "out.jsonl"])
    assert "CORPUS raw.de: the teacher lacks 100 % of the tokens" in said and "give --sentencepiece" in said
    shutil.copytree(bitext, "other")
    dictionary = Path("other", "dict.de.txt")
    first, rest = dictionary.read_text(encoding="utf-8").split("\n", 1)
    dictionary.write_text(f"{first}\n{rest}madeupword0000 0\n", encoding="utf-8")
    assert main([words[0], "other", *words[2:], "--out", "filled.jsonl", "--limit", "2"]) == 0
    dictionary.write_text(f"other {first.split()[1]}\n{rest}", encoding="utf-8")
    said = refused([words[0], "other", *words[2:], "--out", "out.jsonl"])
    assert "CORPUS other has another vocabulary" in said and "lacks 1 of its" in said and "'other'" in said
    assert "scripts/distill_seq.sh --teacher-data" in said


def mark(letters: str) -> list[str]:
    return [f"\u2581{letter}" for letter in letters]


@pytest.mark.parametrize(
    ("here", "teachers", "said"),
    [
        ("abcd", "abcd", None),
        ("abcd", "abcdefgh", "it lacks 4 of the teacher's 8 types (such as '\u2581e')"),
        ("abcx", "abcd", "(such as '\u2581x'), and it lacks 1 of the teacher's 4"),
    ],
)
def test_pieces_of_lskd_encode_are_the_whole_vocabulary(here: str, teachers: str, said: str | None) -> None:
    """All pieces of a smaller vocabulary are in the teacher's, but its segmentation is another."""
    from fairseq_lskd.sequences.corpus import open_corpus
    from fairseq_lskd.sequences.translation import _check_dictionary

    Path("train.de").write_text("".join(f"{piece}\n" for piece in mark(here)), encoding="utf-8")
    Path("dict.de.txt").write_text("".join(f"{piece} 1\n" for piece in mark(here)), encoding="utf-8")
    corpus = open_corpus(Path("train.de"))
    _check_dictionary(corpus, mark(teachers), in_pieces=True)  # the text is not from `lskd encode`
    Path("encode.json").write_text("{}")
    _check_dictionary(corpus, mark(teachers), in_pieces=False)
    if said is None:
        _check_dictionary(corpus, [*mark(teachers), "<s>", "madeupword0000"], in_pieces=True)
        return
    with pytest.raises(UserError) as caught:
        _check_dictionary(corpus, mark(teachers), in_pieces=True)
    assert said in str(caught.value) and "--spm-model" in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x"], "--out is missing"),
        (["--merge", "--plan", "--num-shards", "2"], "--out is missing"),
        (["none", "--plan", "--teacher-path", "t.pt"], "CORPUS none: no such file or folder"),
        (["--out", "o"], "CORPUS is missing"),
        (["none", "--out", "o", "--teacher-path", "t.pt"], "CORPUS none: no such file or folder"),
        ([".", "--out", "o"], "expected --teacher-path with fairseq checkpoints, or --model"),
        ([".", "--out", "o", "--teacher-path", "t.pt"], "no checkpoint at t.pt"),
        ([".", "--out", "o", "--model", "."], "--model . is not a CTranslate2 model folder"),
        ([".", "--out", "o", "--model", ".", "--engine", "fairseq"], "--engine fairseq needs --teacher-path"),
        (["--merge", "--out", "o"], "--merge needs --num-shards, the number of shards: expected 2 or more, found 1"),
        (["--merge", "--out", "o", "--num-shards", "2"], "not finished: o.0-of-2, o.1-of-2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_that_need_no_teacher(words: list[str], said: str) -> None:
    assert said in refused(["translate", *words])
    assert not list(Path().iterdir())


def test_without_ctranslate2_a_model_folder_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert re.search(
        r"--model needs CTranslate2, which is not installed. Get it with: .* -m pip install \"ctranslate2>=4.0\"",
        refused(["translate", ".", "--out", "o", "--model", "."]),
    )
