"""The generated bitext through the same scripts: what a model lacks to the truth is in its record."""

import json
import sysconfig
from pathlib import Path

import pytest

from e2e.test_pipeline import TINY, said, script
from fairseq_lskd.analysis import truth
from fairseq_lskd.records import logs
from fairseq_lskd.scoring import curve_claims
from fairseq_lskd.scoring.sentences import sentence_log_probs
from fairseq_lskd.teachers.alone import load_teacher

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path(sysconfig.get_path("scripts"), "fairseq-train").exists(), reason="fairseq's commands are not installed"
    ),
]


def test_a_model_and_its_distance_from_the_truth(tmp_path):
    of = ["--data", "data/g", "--recipe", "generated"]
    size = ["--pairs", 300, "--references", 3, "--vocab-size", 200]
    script("prepare.sh", "--corpus", "generated", *size, "--data", "data/g", cwd=tmp_path)
    for name, updates in (("less", "17"), ("more", "40")):
        more = ["--", *TINY, "--max-update", updates]
        script("train_teacher.sh", *of, "--size", "student", "--out", f"runs/{name}", *more, cwd=tmp_path)
        script("score.sh", *of, "--run", f"runs/{name}", cwd=tmp_path)
    table = said("lskd", "table", "runs/less/result.json", "runs/more/result.json", cwd=tmp_path)
    less, more = (json.loads((tmp_path / f"runs/{name}/result.json").read_text()) for name in ("less", "more"))
    assert 0 < more["kl_to_truth"] < less["kl_to_truth"]
    assert "KL to truth" in table and f"{less['kl_to_truth']:.2f}" in table and "BLEU: nrefs:3|" in table
    # The same, sentence by sentence; and the curves in the logs of both.
    found = {}
    for name in ("less", "more"):
        teacher = load_teacher(str(tmp_path / f"runs/{name}/checkpoint_average.pt"), str(tmp_path / "data/g/bin"))
        teacher.task.load_dataset("valid")
        found[name] = sentence_log_probs(teacher.models[0], teacher.task, "valid")
    known = truth.read_log_probs(tmp_path / "data/g/raw", "valid")
    section = truth.section({name: each.log_probs for name, each in found.items()}, found["less"].tokens, known)
    kl = {row[0]: row[1] for row in section.tables[0].rows}
    assert kl == pytest.approx({"less": less["kl_to_truth"], "more": more["kl_to_truth"]}, abs=0.1)
    drawn = curve_claims.section(logs.find_runs(tmp_path / "runs"))
    points = {(row[0], row[1], row[2]) for row in drawn.tables[1].rows}
    assert {(run, "valid", "nll_loss") for run in ("less", "more")} <= points
