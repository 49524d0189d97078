"""The example configuration through fairseq-hydra-train, with the values of the command line on top."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sysconfig.get_path("scripts"), "fairseq-hydra-train")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not COMMAND.exists(), reason="fairseq's commands are not installed"),
]


@pytest.mark.parametrize(
    ("temperature", "status", "said"),
    [("2", 0, '"train_kd_loss"'), ("0", 1, "--criterion word_kd: error: --kd-temperature 0.0: expected")],
)
def test_word_kd_trains_from_a_hydra_file_or_names_the_wrong_value(
    tmp_path, bitext, teacher_path, temperature, status, said
):
    words = ["--config-dir", ROOT / "examples" / "hydra", "--config-name", "word_kd", "hydra.run.dir=runs/hydra/word"]
    words += [f"common.user_dir={ROOT / 'fairseq_lskd'}", f"task.data={bitext}", "model.share_all_embeddings=false"]
    words += [f"criterion.teacher_path={teacher_path}", f"criterion.kd_temperature={temperature}"]
    # A plus is for an option that the file does not list, as the file says.
    words += [plus := "+criterion.kd_divergence=reverse_kl"]
    words += [f"checkpoint.save_dir={tmp_path / 'out'}", "optimization.max_update=2", "dataset.max_tokens=100"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [str(word) for word in [COMMAND, *words]],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == status and said in done.stdout + done.stderr, (done.stdout + done.stderr)[-3000:]
    # As the file's own example has it: what is written is under runs/, which git ignores.
    example = (ROOT / "examples" / "hydra" / "word_kd.yaml").read_text()
    assert "hydra.run.dir=runs/hydra/word" in example and plus in example
    assert {path.name for path in tmp_path.iterdir()} <= {"runs", "out"}
    assert (tmp_path / "out" / "checkpoint_last.pt").exists() == (status == 0)
