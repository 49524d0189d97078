"""Two workers learn what one worker learns that accumulates two batches: nothing is averaged twice."""

import os
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import MODEL

from fairseq_lskd.sequences import SequenceWeights

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sysconfig.get_path("scripts"))

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not (BIN / "fairseq-train").exists(), reason="fairseq's commands are not installed"),
]


def train(out: Path, data: Path, *flags: str, workers: int) -> dict[str, torch.Tensor]:
    """Three updates of two batches each, without dropout; the weights afterwards."""
    command = [str(BIN / "fairseq-train"), str(data), "--user-dir", str(ROOT / "fairseq_lskd"), "--cpu", *MODEL]
    command += ["--dropout", "0", "--optimizer", "sgd", "--lr", "0.5", "--max-update", "3", "--max-tokens", "60"]
    command += ["--save-dir", str(out), "--seed", "5", "--num-workers", "0", *flags]
    if workers > 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(workers)]
        launcher += ["--master_addr", "127.0.0.1", "--master_port", str(port)]
        command = [*launcher, *command, "--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp"]
    else:
        command += ["--update-freq", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    weights = torch.load(out / "checkpoint_last.pt", weights_only=True)["model"]
    # fairseq's embeddings of positions hold a number that nobody sets.
    return {name: weight for name, weight in weights.items() if not name.endswith("._float_tensor")}


@pytest.mark.parametrize("sentence_avg", [False, True])
def test_word_kd(tmp_path, bitext, teacher_path, sentence_avg):
    flags = ["--criterion", "word_kd", "--teacher-path", str(teacher_path), "--kd-temperature", "2"]
    flags += ["--sentence-avg"] * sentence_avg
    compare(tmp_path, bitext, flags)


def test_seq_kd_with_weights_and_a_teacher(tmp_path, bitext, teacher_path):
    weight = np.linspace(0, 2, 60, dtype=np.float32)
    SequenceWeights(weight, np.zeros(60, bool)).save(tmp_path / "weights.npz")
    flags = ["--criterion", "seq_kd", "--sequence-weights", str(tmp_path / "weights.npz")]
    compare(tmp_path, bitext, [*flags, "--teacher-path", str(teacher_path), "--kd-weight", "0.4"])


def compare(folder: Path, data: Path, flags: list[str]) -> None:
    one = train(folder / "one", data, *flags, workers=1)
    two = train(folder / "two", data, *flags, workers=2)
    start = train(folder / "start", data, *flags, "--lr", "0", workers=1)
    moved = max(float((one[name] - start[name]).abs().max()) for name in one)
    apart = max(float((one[name] - two[name]).abs().max()) for name in one)
    assert moved > 1e-2 and apart < 1e-4 * moved, (moved, apart)
