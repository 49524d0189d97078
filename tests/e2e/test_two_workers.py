"""Two workers learn what one worker learns that accumulates two batches: nothing is averaged twice."""

import os
import re
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from multilingual import MARKS, MULTI, PAIRS, binarise_pairs, save
from tiny import MODEL, assert_same, batch, logits

from fairseq_lskd.sequences import SequenceWeights

from . import two_ranks

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sysconfig.get_path("scripts"))

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not (BIN / "fairseq-train").exists(), reason="fairseq's commands are not installed"),
]


def launcher(workers: int) -> list[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(workers)]
    return [*words, "--master_addr", "127.0.0.1", "--master_port", str(port)]


def execute(command: list[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def train(out: Path, data: Path, *flags: str, workers: int, backend: str = "legacy_ddp") -> dict[str, torch.Tensor]:
    """Three updates of two batches each, without dropout; the weights afterwards."""
    command = [str(BIN / "fairseq-train"), str(data), "--user-dir", str(ROOT / "fairseq_lskd"), "--cpu", *MODEL]
    command += ["--dropout", "0", "--optimizer", "sgd", "--lr", "0.5", "--max-update", "3", "--max-tokens", "60"]
    command += ["--save-dir", str(out), "--seed", "5", "--num-workers", "0", *flags]
    if workers > 1:
        command = [*launcher(workers), *command, "--distributed-backend", "gloo", "--ddp-backend", backend]
    else:
        command += ["--update-freq", "2"]
    execute(command)
    return weights(out / "checkpoint_last.pt")


def weights(path: Path) -> dict[str, torch.Tensor]:
    found = torch.load(path, weights_only=True)["model"]
    # fairseq's embeddings of positions hold a number that nobody sets.
    return {name: weight for name, weight in found.items() if not name.endswith("._float_tensor")}


@pytest.mark.parametrize(("sentence_avg", "backend"), [(False, "pytorch_ddp"), (True, "legacy_ddp")])
def test_word_kd_of_two_workers_is_that_of_one(tmp_path, bitext, teacher_path, sentence_avg, backend):
    flags = ["--criterion", "word_kd", "--teacher-path", str(teacher_path), "--kd-temperature", "2"]
    flags += ["--sentence-avg"] * sentence_avg
    compare(tmp_path, bitext, flags, backend)


def test_seq_kd_with_weights_and_a_teacher(tmp_path, bitext, teacher_path):
    weight = np.linspace(0, 2, 60, dtype=np.float32)
    SequenceWeights(weight, np.zeros(60, bool)).save(tmp_path / "weights.npz")
    flags = ["--criterion", "seq_kd", "--sequence-weights", str(tmp_path / "weights.npz")]
    compare(tmp_path, bitext, [*flags, "--teacher-path", str(teacher_path), "--kd-weight", "0.4"])


def test_stability_is_that_of_one_worker(tmp_path, bitext):
    """Of the whole validation set, of which each worker sees a half."""
    flags = ["--criterion", "label_smoothed_teacher", "--report-stability", "--lr", "0", "--log-format", "json"]
    found = []
    for workers in (1, 2):
        log = tmp_path / f"log-{workers}"
        train(tmp_path / str(workers), bitext, *flags, "--log-file", str(log), workers=workers)
        found.append(re.findall(r'"valid_intra_class_variance": "([0-9.]+)"', log.read_text()))
    one, two = (set(values) for values in found)
    assert one == two and len(one) == 1 and float(*one) > 0


def test_accuracies_of_pairs_are_those_of_one_worker(tmp_path):
    """--kd-threshold counts the whole validation set, of which each worker sees a part."""
    data = binarise_pairs(tmp_path)
    teachers = [
        f"{p}={save(tmp_path / f'{p}.pt', data, '--task', 'translation', '-s', p[:2], '-t', 'en')}" for p in PAIRS
    ]
    flags = [*MULTI, *MARKS, "--criterion", "word_kd", "--teacher-path", ",".join(teachers), "--kd-threshold", "0"]
    found = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        train(out, data, *flags, "--lr", "0", workers=workers)
        found.append(torch.load(out / "checkpoint_last.pt", weights_only=True)["criterion"]["ahead.counts"])
    assert torch.equal(*found) and found[0][:, 1:3].sum(0).min() > 0
    lengths = [len(line.split()) + 1 for p in PAIRS for line in (tmp_path / f"valid.{p}.en").read_text().splitlines()]
    assert found[0][:, 3].sum() == sum(lengths)


def compare(folder: Path, data: Path, flags: list[str], backend: str = "legacy_ddp") -> None:
    one = train(folder / "one", data, *flags, "--save-interval-updates", "1", workers=1)
    two = train(folder / "two", data, *flags, workers=2, backend=backend)
    first = weights(folder / "one" / "checkpoint_1_1.pt")
    moved = max(float((one[name] - first[name]).abs().max()) for name in one)
    apart = max(float((one[name] - two[name]).abs().max()) for name in one)
    assert moved > 1e-2 and apart < 1e-4 * moved, (moved, apart)


def test_global_selection_goes_on_from_a_checkpoint(tmp_path, bitext, teacher_path):
    """The queue has all tokens of both workers, and a second training takes it over."""
    flags = ["--criterion", "word_kd", "--teacher-path", str(teacher_path), "--kd-select", "global"]
    train(tmp_path, bitext, *flags, workers=2)
    first = remembered(tmp_path)
    train(tmp_path, bitext, *flags, "--max-update", "4", workers=2)
    second = remembered(tmp_path)
    assert len(second) > len(first) > 120 and second[: len(first)] == first


def remembered(folder: Path) -> list[float]:
    state = torch.load(folder / "checkpoint_last.pt", weights_only=True)["criterion"]
    values = state["queue"].view(torch.float32)
    return values[~values.isnan()].tolist()


# Ways of distributing that fairseq-train has on GPUs only, and many scenarios at once.


@pytest.fixture(scope="module")
def ranks(bitext, teacher_path, tmp_path_factory):
    """What each of two workers found, by scenario."""
    out = tmp_path_factory.mktemp("ranks")
    script = Path(two_ranks.__file__)
    execute([*launcher(2), str(script), str(bitext), str(teacher_path), str(out)])
    found = [torch.load(out / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for rank in found:
        for scenario, results in rank.items():
            assert "error" not in results, f"{scenario}: {results['error']}"
    return found


def one_worker(data: Path, teacher_path: Path, scenario: two_ranks.Scenario, **settings) -> dict[str, torch.Tensor]:
    """--update-freq 2."""
    trainer = two_ranks.start(data, str(teacher_path), scenario, **settings)
    for update in two_ranks.UPDATES:
        trainer.train_step([batch(trainer.task, ids) for ids in update])
    return two_ranks.weights(trainer)


@pytest.mark.parametrize("scenario", two_ranks.SAME, ids=str)
@pytest.mark.parametrize("form", ["auto", "plain"])
def test_two_workers_learn_what_one_does_in_either_form(ranks, bitext, teacher_path, scenario, form):
    ours = ranks[0][str(scenario)]
    assert not [message for message in ours["said"] if "whole" in message]
    wanted = one_worker(bitext, teacher_path, scenario, loss_form=form)
    assert_same(ours["weights"], wanted, tolerance=1e-5)
    at_first = two_ranks.weights(two_ranks.start(bitext, str(teacher_path), scenario))
    assert max(float((wanted[name] - at_first[name]).abs().max()) for name in wanted) > 1e-2


@pytest.mark.parametrize("scenario", two_ranks.UNUSED, ids=str)
def test_unused_parameters(ranks, bitext, teacher_path, scenario):
    """An output matrix that is no embedding would be taken for unused: the plain form does without that."""
    ours = ranks[0][str(scenario)]
    reason = "tensors: --find-unused-parameters would treat the output matrix as unused"
    assert any(reason in message for message in ours["said"]) == (not scenario.tied)
    assert_same(ours["weights"], one_worker(bitext, teacher_path, scenario), tolerance=1e-5)


EVERY = [*two_ranks.SAME, *two_ranks.UNUSED, *two_ranks.SELECT, *two_ranks.OWN]


@pytest.mark.parametrize("scenario", EVERY, ids=str)
def test_both_workers_have_the_same_student_also_after_a_pause(ranks, scenario):
    first, second = (rank[str(scenario)] for rank in ranks)
    expected = {"legacy_ddp": "LegacyDistributedDataParallel", "pytorch_ddp": "DistributedDataParallel"}
    assert first["wrapper"] == expected[scenario.backend]
    assert_same(first["weights"], second["weights"])
    assert_same(first["resumed"], first["weights"])
    assert_same(second["resumed"], second["weights"])


@pytest.mark.parametrize("scenario", two_ranks.SELECT, ids=str)
def test_every_worker_has_the_same_queue(ranks, bitext, teacher_path, scenario):
    """First the tokens of the first worker, then those of the second, whose number is another."""
    first, second = (rank[str(scenario)]["queues"] for rank in ranks)
    for mine, others in zip(first, second, strict=True):
        torch.testing.assert_close(mine, others, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(first[-1], first[-2], rtol=0, atol=0, equal_nan=True)  # after the pause
    trainer = two_ranks.start(bitext, str(teacher_path), scenario)
    nll = []
    for ids in two_ranks.UPDATES[0]:
        sample = batch(trainer.task, ids)
        with torch.no_grad():
            log_probs = logits(trainer.get_model().train(), sample).log_softmax(-1)
        target = sample["target"]
        nll.append(
            -log_probs.gather(-1, target.unsqueeze(-1)).squeeze(-1)[target.ne(trainer.task.target_dictionary.pad())]
        )
    assert len(nll[0]) != len(nll[1])
    torch.testing.assert_close(first[0][-sum(map(len, nll)) :], torch.cat(nll))
    assert first[0][: -sum(map(len, nll))].isnan().all()
