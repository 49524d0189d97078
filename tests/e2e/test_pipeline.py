"""The steps that a person runs, on real text: prepare, train, distil, score, and plain fairseq with what came of it."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sysconfig
import time
from itertools import islice
from pathlib import Path

import pytest
import sacrebleu
from sentencepiece import SentencePieceProcessor

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT.parent / "shared" / "corpora" / "multi30k"
BIN = sysconfig.get_path("scripts")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="no shared/corpora/multi30k beside the checkout"),
    pytest.mark.skipif(not Path(BIN, "fairseq-train").exists(), reason="fairseq's commands are not installed"),
]

TINY = [
    *["--encoder-layers", "1", "--decoder-layers", "1", "--encoder-embed-dim", "32", "--decoder-embed-dim", "32"],
    *["--encoder-ffn-embed-dim", "32", "--decoder-ffn-embed-dim", "32"],
    *["--max-update", "12", "--save-interval-updates", "4", "--warmup-updates", "4", "--num-workers", "0"],
]
AVERAGE = "checkpoint_average.pt"


def call(*command: object, cwd: Path, **options: object) -> subprocess.CompletedProcess:
    """A command as a user calls it, with the environment of these tests and without a GPU."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=cwd, env=environment, **options)


def said(*command: object, cwd: Path) -> str:
    """What a command that succeeded said, on both channels."""
    done = call(*command, cwd=cwd)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


def script(name: str, *words: object, cwd: Path) -> str:
    return said(ROOT / "scripts" / name, *words, cwd=cwd)


def log(folder: Path) -> str:
    return (folder / "log.txt").read_text(encoding="utf-8")


def last_validation(run: Path) -> dict[str, str]:
    """The statistics of the last validation in a training's log, without those of speed."""
    line = [line for line in log(run).splitlines() if "| INFO | valid | {" in line][-1]
    stats = json.loads(line[line.index("{") :])
    assert stats["valid_num_updates"] == "12"
    return {name: value for name, value in stats.items() if name in ("valid_loss", "valid_nll_loss", "valid_accuracy")}


def files(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    """Size and, of what is written anew at each call, bytes of every file."""
    anew = (AVERAGE,)
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.read_bytes() if path.name in anew else None)
        for path in paths
    }


#: A flag of fairseq-train after `--` overrides the script's, and the records say so.
STUDENTS = {
    "word": ("distill_word.sh", ["--kd-temperature", "2"], ["--kd-temperature", "3"]),
    "mixed": ("distill_seq.sh", ["--reference-weight", "0.3"], []),
}


def teach(home: Path, *, out: str = "runs/teacher") -> str:
    words = ["--data", "data", "--out", out, "--label-smoothing", "0.1", "--", *TINY]
    return script("train_teacher.sh", *words, cwd=home)


def distil(home: Path, name: str) -> str:
    program, options, overrides = STUDENTS[name]
    words = ["--data", "data", "--teacher", f"runs/teacher/{AVERAGE}", "--teacher-smoothing", "0.1", *options]
    return script(program, *words, "--out", f"runs/{name}", "--", *TINY, *overrides, cwd=home)


def score(home: Path, name: str) -> str:
    return script("score.sh", "--data", "data", "--run", f"runs/{name}", cwd=home)


def prepare(home: Path) -> str:
    words = ["--raw", "raw", "-s", "de", "-t", "en", "--vocab-size", "400", "--data", "data"]
    return script("prepare.sh", *words, cwd=home)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything was run once, with the first sentences of Multi30k."""
    home = tmp_path_factory.mktemp("home")
    (home / "raw").mkdir()
    for name, split, count in (("train", "train", 400), ("val", "valid", 50), ("test_2016_flickr", "test", 50)):
        for language in ("de", "en"):
            with gzip.open(CORPUS / f"{name}.{language}.gz", "rb") as stream:
                text = b"".join(islice(stream, count))
            # One split gzipped, as a user may have it.
            path = home / "raw" / f"{split}.{language}{'.gz' * (split == 'test')}"
            path.write_bytes(gzip.compress(text) if split == "test" else text)
    prepare(home)
    teach(home)
    for name in STUDENTS:
        distil(home, name)
        score(home, name)
    return home


def test_every_step_left_a_finished_run(home: Path) -> None:
    runs = ["runs/teacher", "runs/word", "runs/mixed"]
    runs += [f"runs/{name}/{step}" for name in STUDENTS for step in ("validate", "test")]
    for folder in runs:
        record = json.loads((home / folder / "run.json").read_text())
        assert record["finished"] and record["seconds"] > 0, folder
    assert json.loads((home / "data/bin/binarise.json").read_text())["counts"]["train.en"]["lines"] == 400
    for name in ("teacher", *STUDENTS):
        assert {"valid_loss", "valid_nll_loss"} <= last_validation(home / "runs" / name).keys()
        assert (home / "runs" / name / AVERAGE).is_file()


def test_translations_of_the_training_side_are_mixed_with_the_references(home: Path) -> None:
    made, pieces = home / "runs" / "mixed-data", home / "data" / "pieces"
    records = [json.loads(line) for line in (made / "nbest.jsonl").read_text(encoding="utf-8").splitlines()]
    references, sources = ((pieces / f"train.{side}").read_text(encoding="utf-8").splitlines() for side in ("en", "de"))
    targets = (made / "selected" / "train.en").read_text(encoding="utf-8").splitlines()
    assert len(records) == len(references) == 400
    pairs = []
    for record, source, reference in zip(records, sources, references, strict=True):
        best = record["hypotheses"][0]
        # A teacher of twelve updates may say nothing; then there is the reference alone.
        pairs += [(source, best["tokens"])] * bool(best["text"].strip()) + [(source, reference)]
    assert 600 < len(pairs) <= 800 and targets == [target for _, target in pairs]
    assert (made / "selected" / "train.de").read_text(encoding="utf-8").splitlines() == [source for source, _ in pairs]


def test_results_have_the_scores_of_their_translations_and_go_into_one_table(home: Path) -> None:
    paths = [f"runs/{name}/result.json" for name in STUDENTS]
    table = said(Path(BIN, "lskd"), "table", *paths, "--out", "results.json", cwd=home)
    records = {record["system"]: record for record in json.loads((home / "results.json").read_text())}
    assert list(records) == list(STUDENTS)
    references = gzip.decompress((home / "raw" / "test.en.gz").read_bytes()).decode("utf-8").splitlines()
    for name, record in records.items():
        assert record["teacher_smoothing"] == 0.1 and record["role"] == "student"
        hypotheses = (home / "runs" / name / "test" / "hypotheses.en").read_text(encoding="utf-8")
        assert hypotheses.count("\n") == 50 and "▁" not in hypotheses
        lines = hypotheses.splitlines()
        assert record["bleu"] == pytest.approx(sacrebleu.corpus_bleu(lines, [references], force=True).score, abs=0.01)
        assert record["chrf"] == pytest.approx(sacrebleu.corpus_chrf(lines, [references]).score, abs=0.01)
        nll_loss = float(re.findall(r'"valid_nll_loss": "([\d.]+)"', log(home / "runs" / name / "validate"))[-1])
        assert record["valid_ppl"] == pytest.approx(2**nll_loss, rel=0.01)
        assert record["signature"].startswith("nrefs:1|") and record["signature"] in table
        assert record["parameters"] > 10_000 and record["train_seconds"] > 0 and record["command"][0] == "fairseq-train"
        assert [line for line in table.splitlines() if line.startswith(name)]
    assert records["word"]["temperature"] == 3.0 and records["mixed"]["temperature"] is None
    assert (records["word"]["method"], records["mixed"]["method"]) == ("word", "sequence")


def test_calling_a_step_again_runs_nothing_and_changes_nothing(home: Path) -> None:
    before = files(home / "runs"), files(home / "data")
    assert prepare(home).count("up to date") == 2
    assert teach(home).count("| up to date: ") == 1
    assert distil(home, "word").count("| up to date: ") == 1
    assert distil(home, "mixed").count("up to date") == 3
    assert score(home, "word").count("| up to date: ") == 2
    assert (files(home / "runs"), files(home / "data")) == before


def test_another_option_in_the_same_folder_is_refused(home: Path) -> None:
    words = ["--data", "data", "--out", "runs/teacher", "--label-smoothing", "0.2", "--", *TINY]
    done = call(ROOT / "scripts" / "train_teacher.sh", *words, cwd=home)
    assert done.returncode == 1
    assert "runs/teacher contains another run: its command has --label-smoothing 0.1, this one has" in done.stderr


def test_another_text_in_the_same_folder_is_refused(home: Path, tmp_path: Path) -> None:
    words = ["--raw", tmp_path, "-s", "de", "-t", "en", "--vocab-size", "400", "--data", "data"]
    done = call(ROOT / "scripts" / "prepare.sh", *words, cwd=home)
    assert done.returncode == 1 and "data/raw holds another text than --raw" in done.stderr
    assert (home / "data" / "raw").resolve() == (home / "raw").resolve()


def test_a_missing_teacher_is_named_before_anything_runs(home: Path) -> None:
    words = ["--data", "data", "--teacher", "none.pt", "--out", "runs/none", "--", *TINY]
    done = call(ROOT / "scripts" / "distill_word.sh", *words, cwd=home)
    assert done.returncode == 1 and "none.pt: no such file" in done.stderr
    assert not (home / "runs" / "none").exists()


def test_a_student_of_a_teacher_with_another_vocabulary(home: Path) -> None:
    script("prepare.sh", *["--raw", "raw", "-s", "de", "-t", "en", "--vocab-size", "300", "--data", "small"], cwd=home)
    words = ["--data", "small", "--teacher", f"runs/teacher/{AVERAGE}", "--teacher-data", "data", "--out", "runs/small"]
    script("distill_seq.sh", *words, "--", *TINY, cwd=home)
    selected, student = home / "runs/small-data/selected", SentencePieceProcessor(str(home / "small/pieces/spm.model"))
    texts = (home / "data/raw/train.de").read_text(encoding="utf-8").splitlines()
    lines = (selected / "train.de").read_text(encoding="utf-8").splitlines()
    assert lines == [" ".join(student.encode(text, out_type=str)) for text in texts]
    types = len((home / "small/bin/dict.de.txt").read_text(encoding="utf-8").splitlines())
    assert types == len((selected / "data-bin/dict.de.txt").read_text(encoding="utf-8").splitlines()) < 400
    record = json.loads((home / "runs/small/run.json").read_text())
    assert record["finished"] and record["training"]["teachers"][0]["training"]["label_smoothing"] == 0.1


def test_a_backward_model_of_the_same_data_filters_the_translations(home: Path) -> None:
    words = ["--data", "data", "--direction", "en-de", "--out", "runs/back", "--", *TINY]
    script("train_teacher.sh", *words, cwd=home)
    words = ["--data", "data", "--teacher", f"runs/teacher/{AVERAGE}", "--backward", f"runs/back/{AVERAGE}"]
    script("distill_seq.sh", *words, "--filter-worst", "0.1", "--out", "runs/filtered", "--", *TINY, cwd=home)
    made = home / "runs/filtered-data"
    scores = [score for line in (made / "backward.jsonl").read_text().splitlines() for score in json.loads(line)]
    assert len(scores) == 400
    report = json.loads((made / "selected/report.json").read_text())
    # References take the place of the sentences without a translation.
    assert report["dropped"]["lowest 10 % in backward.jsonl"]["sentences"] == report["pairs"]["references"] == 40
    assert report["pairs"]["translations"] == 360


def test_a_student_decodes_with_plain_fairseq_when_its_teacher_is_gone(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "data" / "bin", tmp_path / "bin")
    shutil.copy(home / "runs" / "word" / AVERAGE, tmp_path / "student.pt")
    gone = home / "runs" / "gone"
    (home / "runs" / "teacher").rename(gone)
    try:
        words = ["bin", "-s", "de", "-t", "en", "--path", "student.pt", "--gen-subset", "test", "--beam", "2", "--cpu"]
        output = said("fairseq-generate", *words, cwd=tmp_path)
    finally:
        gone.rename(home / "runs" / "teacher")
    assert len([line for line in output.splitlines() if line.startswith("H-")]) == 50


def test_a_killed_training_is_resumed_to_the_same_end(home: Path) -> None:
    out = home / "runs" / "killed"
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    words = ["--data", "data", "--out", "runs/killed", "--label-smoothing", "0.1", "--", *TINY]
    process = subprocess.Popen(
        [str(ROOT / "scripts" / "train_teacher.sh"), *words],
        cwd=home,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + 120
    # The line comes when the checkpoint has been copied to checkpoint_last.pt too.
    while not (out / "log.txt").exists() or "Saved checkpoint" not in log(out):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if json.loads((out / "run.json").read_text())["finished"]:
        pytest.skip("the training was faster than the signal")
    assert not (out / AVERAGE).exists()
    teach(home, out="runs/killed")
    assert "Loaded checkpoint" in log(out)
    record = json.loads((out / "run.json").read_text())
    assert record["finished"]
    assert last_validation(out) == last_validation(home / "runs" / "teacher")
