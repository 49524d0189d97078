"""The scripts on two workers, with data of the classical recipe, as a user calls them."""

from __future__ import annotations

import json
import shutil
import sysconfig
from pathlib import Path

import pytest
from prepared import prepare

from e2e.test_pipeline import script

BIN = sysconfig.get_path("scripts")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not Path(BIN, "fairseq-train").exists(), reason="fairseq's commands are not installed"),
]
TINY = [
    *["--encoder-layers", "1", "--decoder-layers", "1", "--encoder-embed-dim", "16", "--decoder-embed-dim", "16"],
    *["--encoder-ffn-embed-dim", "16", "--decoder-ffn-embed-dim", "16", "--encoder-attention-heads", "2"],
    *["--decoder-attention-heads", "2", "--save-interval-updates", "1", "--keep-interval-updates", "20"],
    *["--max-update", "12", "--warmup-updates", "2", "--num-workers", "0", "--cpu"],
]
TWO = ["--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp"]


def trained(run: Path) -> list[tuple[str, str, str]]:
    """Number, tokens and sentences of every update."""
    lines = [line for line in (run / "log.txt").read_text().splitlines() if "| train_inner | {" in line]
    stats = [json.loads(line[line.index("{") :]) for line in lines]
    found = [(row["num_updates"], row["wpb"], row["bsz"]) for row in stats]
    assert len(found) == 12
    # An epoch is two updates here. The second has batches for one worker more than for the other, which fairseq then
    # leaves out of its numbers.
    return found[::2]


def test_the_classical_recipe_on_one_and_two_workers(tmp_path: Path) -> None:
    """The recipe has 8 batches in an update: one worker accumulates 8 of them, each of two 4, and both see the same."""
    prepare(tmp_path)
    shutil.rmtree(tmp_path / "pieces")
    shutil.rmtree(tmp_path / "bin")
    words = ["--recipe", "moses-bpe", "--vocab-size", 20, "--data", "data"]
    said = script("prepare.sh", "--raw", "raw", "-s", "de", "-t", "en", *words, cwd=tmp_path)
    assert "data/bin: written" in said
    of = ["--data", "data", "--recipe", "wmt14-en-de-base"]
    tiny = ["--", *TINY, "--max-tokens", 30, "--log-interval", 1]
    script("train_teacher.sh", *of, "--out", "runs/one", *tiny, cwd=tmp_path)
    script("train_teacher.sh", *of, "--out", "runs/two", "--gpus", 2, *tiny, *TWO, cwd=tmp_path)
    one, two = (trained(tmp_path / "runs" / name) for name in ("one", "two"))
    assert one == two and float(one[0][1]) > 200

    teacher = "runs/two/checkpoint_average.pt"
    more = ["--teacher", teacher, "--out", "runs/student", "--gpus", 2, *tiny, *TWO]
    script("distill_word.sh", *of, *more, cwd=tmp_path)
    assert trained(tmp_path / "runs/student") == two
    script("score.sh", *of, "--run", "runs/student", cwd=tmp_path)
    result = json.loads((tmp_path / "runs/student/result.json").read_text())
    assert result["command"][:4] == ["torchrun", "--standalone", "--nproc_per_node", "2"] and "bleu" in result
    hypotheses = (tmp_path / "runs/student/test/hypotheses.en").read_text()
    assert len(hypotheses.splitlines()) == 20 and "@@" not in hypotheses

    # Sequence level: translations in BPE's pieces, selected and binarised as such.
    script("distill_seq.sh", *of, "--teacher", teacher, "--out", "runs/seq", *tiny, cwd=tmp_path)
    assert (tmp_path / "runs/seq/checkpoint_average.pt").is_file()
