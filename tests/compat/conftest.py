"""A tiny bitext, a checkpoint trained on it, and functions that run Python and fairseq's commands in new processes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SIZES = {"layers": 1, "embed-dim": 16, "ffn-embed-dim": 16, "attention-heads": 2}
TRAIN = [
    *("--arch", "transformer_iwslt_de_en", "--share-all-embeddings"),
    *(word for side in ("en", "de") for key, size in SIZES.items() for word in (f"--{side}coder-{key}", str(size))),
    *("--optimizer", "adam", "--lr", "5e-3", "--criterion", "label_smoothed_cross_entropy"),
    *("--label-smoothing", "0.1", "--max-tokens", "400", "--cpu", "--seed", "1"),
]


def run(
    command: list[str], *, skip: str = "", text: str = "", cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess:
    """Run a command without a GPU, and without the patches named in ``skip``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LSKD_")}
    return subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**inherited, "LSKD_COMPAT_SKIP": skip, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", **env},
    )


def python(code: str, *options: str, **settings: str) -> subprocess.CompletedProcess:
    """Run code in a new Python process."""
    return run([sys.executable, *options, "-c", code], **settings)


def fairseq(name: str, *arguments: object, **settings: str) -> subprocess.CompletedProcess:
    """Run one of fairseq's commands as a user does: the script if it is installed, else the module."""
    script = Path(sysconfig.get_path("scripts"), f"fairseq-{name}")
    start = [str(script)] if script.exists() else [sys.executable, "-m", f"fairseq_cli.{name.replace('-', '_')}"]
    return run([*start, *map(str, arguments)], **settings)


def succeeded(done: subprocess.CompletedProcess) -> str:
    """Check that a command succeeded, and return its output."""
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A binarised bitext. Targets are the reversed source in capitals."""
    folder = tmp_path_factory.mktemp("bitext")
    source = random.Random(1)
    for split, count in (("train", 60), ("valid", 6), ("test", 6)):
        rows = [source.choices("abcdefgh", k=source.randint(3, 8)) for _ in range(count)]
        (folder / f"{split}.de").write_text("".join(" ".join(row) + "\n" for row in rows))
        (folder / f"{split}.en").write_text("".join(" ".join(row[::-1]).upper() + "\n" for row in rows))
    splits = [word for name in ("train", "valid", "test") for word in (f"--{name}pref", folder / name)]
    destination = ["--destdir", folder / "bin", "--joined-dictionary", "--workers", "2"]
    succeeded(fairseq("preprocess", "-s", "de", "-t", "en", *splits, *destination))
    return folder / "bin"


@pytest.fixture(scope="session")
def checkpoint(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint after two updates and a validation with BLEU, which saves NumPy arrays in it."""
    folder = tmp_path_factory.mktemp("run")
    bleu = ["--eval-bleu", "--eval-bleu-args", '{"beam": 2}', "--best-checkpoint-metric", "bleu"]
    options = [*TRAIN, *bleu, "--maximize-best-checkpoint-metric", "--no-epoch-checkpoints"]
    succeeded(fairseq("train", data, *options, "--max-update", 2, "--num-workers", 2, "--save-dir", folder))
    return folder / "checkpoint_last.pt"
