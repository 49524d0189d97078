"""The examples of docs/development.md, appended to the files that it names, are options of every criterion."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys, torch
from tiny import batch, make_criterion, make_model, make_task
task, losses = make_task(sys.argv[1]), []
student = make_model(task).eval()
flags = {"kd_divergence": "hellinger", "kd_select": "random", "kd_select_share": 0.3}
for name in ("word_kd", "seq_kd"):
    for form in ("fused", "plain"):
        torch.manual_seed(5)
        criterion = make_criterion(task, name, teacher_path=sys.argv[2], loss_form=form, **flags).train()
        losses.append(criterion(student, batch(task, range(6)))[2]["kd_loss"].item())
print(*losses)
"""


def test_a_divergence_and_a_selection_need_one_file_each(bitext, teacher_path, tmp_path):
    shutil.copytree(ROOT / "fairseq_lskd", tmp_path / "fairseq_lskd", ignore=shutil.ignore_patterns("__pycache__"))
    found = re.findall(
        r"Append to `(fairseq_lskd/\S+\.py)`.*?```python\n(.*?)```", (ROOT / "docs/development.md").read_text(), re.S
    )
    assert len(found) == 2
    for path, code in found:
        with (tmp_path / path).open("a") as stream:
            stream.write(f"\n\n{code}")
    words = [sys.executable, "-c", PROGRAM, str(bitext), str(teacher_path)]
    # The copy in the working folder comes before the installed package.
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=tmp_path, env=surroundings)
    assert done.returncode == 0, done.stderr[-2000:]
    losses = [float(word) for word in done.stdout.split()]
    assert losses == pytest.approx(losses[:1] * 4, rel=1e-5) and 0 < losses[0] < 45  # at most 1 per token
