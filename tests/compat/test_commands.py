"""fairseq's unmodified commands on this Python. The fixtures run preprocessing and training."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

from .conftest import TRAIN, fairseq, python, run, succeeded

pytestmark = pytest.mark.e2e


def updates(path: Path) -> int:
    """Return the number of updates of a checkpoint."""
    state = torch.load(path, weights_only=False)
    return state["optimizer_history"][-1]["num_updates"]


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    """A folder with a checkpoint to resume from."""
    shutil.copy(checkpoint, tmp_path / "checkpoint_last.pt")
    return tmp_path


def test_train_writes_a_checkpoint_at_max_update(checkpoint):
    assert updates(checkpoint) == 2


def test_a_training_is_resumed(data, folder):
    # Length buckets, because they use removed names of NumPy. They change the batches, hence --reset-dataloader.
    options = ["--max-update", 4, "--no-epoch-checkpoints", "--num-batch-buckets", 2, "--reset-dataloader"]
    succeeded(fairseq("train", data, *TRAIN, *options, "--save-dir", folder))
    assert updates(folder / "checkpoint_last.pt") == 4


def test_a_finished_training_that_was_not_recorded_is_not_continued(data, folder):
    """After a kill between the last checkpoint and the record, the weights and checkpoints do not change."""
    again = ["--save-dir", folder, "--max-update", 2, "--save-interval-updates", 1]
    command = [sys.executable, "-m", "fairseq_cli.train", str(data), *TRAIN, *map(str, again)]
    before = (folder / "checkpoint_last.pt").read_bytes()
    succeeded(run([sys.executable, "-m", "fairseq_lskd.cli", "run", "--out", str(folder / "run"), "--", *command]))
    assert {path.name for path in folder.iterdir()} == {"checkpoint_last.pt", "run"}
    assert (folder / "checkpoint_last.pt").read_bytes() == before
    assert '"finished": "20' in (folder / "run" / "run.json").read_text()

    succeeded(run(command, skip="finished-trainings"))
    assert updates(folder / "checkpoint_last.pt") == 3


def test_patience_continues_to_count_after_an_interruption(data, tmp_path):
    """At a learning rate of 0 nothing improves: the first validation is the best, and two more end the training."""
    command = [*TRAIN, "--lr", 0, "--patience", 2, "--save-interval-updates", 1, "--no-epoch-checkpoints"]

    def train(folder: Path, most: int, **settings: str) -> str:
        done = fairseq("train", data, *command, "--max-update", most, "--save-dir", folder, **settings)
        return done.stdout + done.stderr + str(updates(folder / "checkpoint_last.pt"))

    train(tmp_path, 2)
    shutil.copytree(tmp_path, tmp_path / "skipped")
    # A larger --max-update continues the training, to the same end as without the interruption.
    assert train(tmp_path, 9).endswith("3")
    assert "nothing is left to train: validation has not improved for 2 runs" in train(tmp_path, 9)
    assert train(tmp_path / "skipped", 9, skip="kept-patience").endswith("5")


def test_fairseq_generate_translates_every_sentence(data, checkpoint):
    out = succeeded(fairseq("generate", data, "--path", checkpoint, "--beam", 2, "--cpu", "--scoring", "sacrebleu"))
    assert out.count("\nH-") == 6
    assert "Generate test with beam=2: BLEU = " in out


def test_fairseq_interactive_translates_its_input(data, checkpoint):
    options = ["--path", checkpoint, "--beam", 2, "--cpu", "-s", "de", "-t", "en"]
    out = succeeded(fairseq("interactive", data, *options, text="a b c\nd e\n"))
    assert out.count("\nH-") == 2


def test_fairseq_validate_reports_its_loss(data, checkpoint):
    done = fairseq("validate", data, "--path", checkpoint, "--cpu", "--task", "translation", "--max-tokens", 400)
    succeeded(done)
    assert "nll_loss" in done.stdout + done.stderr


def test_fairseq_score_gives_equal_texts_100(tmp_path):
    text = tmp_path / "text"
    text.write_text("the cat sat on the mat\n")
    assert "BLEU4 = 100.00" in succeeded(fairseq("score", "--sys", text, "--ref", text))


def test_from_pretrained(data, checkpoint):
    code = f"""
from fairseq.models.transformer import TransformerModel
model = TransformerModel.from_pretrained({str(checkpoint.parent)!r}, {checkpoint.name!r}, {str(data)!r})
print(type(model.translate("a b c")))
"""
    assert "<class 'str'>" in succeeded(python(code))


def test_hydra_train(data, tmp_path):
    overrides = f"""
        task=translation task.data={data} task.source_lang=de task.target_lang=en
        +model={{_name:transformer_iwslt_de_en,encoder_layers:1,decoder_layers:1,encoder_embed_dim:16,decoder_embed_dim:16}}
        criterion=label_smoothed_cross_entropy criterion.label_smoothing=0.1 optimizer=adam optimization.lr=[0.001]
        lr_scheduler=inverse_sqrt dataset.max_tokens=400 optimization.max_update=2 common.cpu=true
        checkpoint.save_dir={tmp_path}
    """
    # Hydra writes a log and .hydra into the working folder.
    succeeded(fairseq("hydra-train", *overrides.split(), cwd=tmp_path))
    assert updates(tmp_path / "checkpoint_last.pt") == 2


def test_two_ranks_resume(data, folder):
    # When a training is resumed, rank 0 sends the whole checkpoint to the other ranks.
    train = Path(sysconfig.get_path("scripts"), "fairseq-train")
    program = [str(train)] if train.exists() else ["-m", "fairseq_cli.train"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *program]
    ranks = [
        "--distributed-backend",
        "gloo",
        "--ddp-backend",
        "legacy_ddp",
        "--no-epoch-checkpoints",
        "--reset-dataloader",
    ]
    succeeded(run([*launch, str(data), *TRAIN, *ranks, "--max-update", "4", "--save-dir", str(folder)]))
    assert updates(folder / "checkpoint_last.pt") == 4
