"""The generated bitext through the same scripts: what a model lacks to the truth is in its record."""

import json
import sysconfig
from pathlib import Path

import pytest

from e2e.test_pipeline import TINY, said, script

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path(sysconfig.get_path("scripts"), "fairseq-train").exists(), reason="fairseq's commands are not installed"
    ),
]


def test_a_model_and_its_distance_from_the_truth(tmp_path):
    of = ["--data", "data/g", "--recipe", "generated"]
    script("prepare.sh", "--corpus", "generated", "--pairs", 300, "--vocab-size", 200, "--data", "data/g", cwd=tmp_path)
    for name, updates in (("less", "17"), ("more", "40")):
        more = ["--", *TINY, "--max-update", updates]
        script("train_teacher.sh", *of, "--size", "student", "--out", f"runs/{name}", *more, cwd=tmp_path)
        script("score.sh", *of, "--run", f"runs/{name}", cwd=tmp_path)
    table = said("lskd", "table", "runs/less/result.json", "runs/more/result.json", cwd=tmp_path)
    less, more = (json.loads((tmp_path / f"runs/{name}/result.json").read_text()) for name in ("less", "more"))
    assert 0 < more["kl_to_truth"] < less["kl_to_truth"]
    assert "KL to truth" in table and f"{less['kl_to_truth']:.2f}" in table and "BLEU: nrefs:1|" in table
