"""What two workers make of every scenario, each rank in a file of its own: started by torchrun in test_two_workers.py.

torchrun --nproc_per_node 2 two_ranks.py DATA TEACHER OUT
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

TESTS = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A criterion's options, under a way of distributing."""

    backend: str = "legacy_ddp"
    tied: bool = False
    find_unused: bool = False
    settings: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        words = [self.backend, "tied" if self.tied else "untied", *["find_unused"] * self.find_unused]
        return " ".join([*words, *(f"{name}={value}" for name, value in self.settings)])

    @property
    def flags(self) -> list[str]:
        """Of fairseq-train; the criterion gets its settings directly."""
        return ["--dropout", "0", "--clip-norm", "0.5", *["--share-decoder-input-output-embed"] * self.tied]


FUSED, ITERATIONS = (("loss_form", "fused"),), (("loss_form", "fused"), ("kd_iterations", 2))
GLOBAL = (("kd_select", "global"), ("kd_select_share", 0.3), ("kd_queue_size", 100))
OTHERWISE = (("loss_form", "fused"), ("kd_divergence", "reverse_kl"), ("kd_temperature", 2.0), ("kd_top_k", 5))
#: Those whose updates are one worker's.
SAME = [
    Scenario(backend, tied, settings=settings)
    for backend in ("legacy_ddp", "pytorch_ddp")
    for tied in (False, True)
    for settings in (FUSED, ITERATIONS)
]
SAME += [
    Scenario("pytorch_ddp", settings=OTHERWISE),
    Scenario("pytorch_ddp", tied=True, settings=(("loss_form", "plain"),)),
]
#: DDP takes the output matrix for unused if it is not an embedding too.
UNUSED = [Scenario("pytorch_ddp", tied, find_unused=True) for tied in (False, True)]
#: Every worker selects by the tokens of all of them.
SELECT = [Scenario(backend, settings=GLOBAL) for backend in ("legacy_ddp", "pytorch_ddp")]
#: Every worker has its student translate its own batch.
OWN = [Scenario(backend, settings=(("kd_on_policy", 0.6),)) for backend in ("legacy_ddp", "pytorch_ddp")]

#: Unequal numbers of tokens, for two workers.
UPDATES = (((0, 1, 2, 3), (4, 5, 6, 7, 8, 9)), ((10,), (11, 12, 13)), ((20, 21, 22), (23, 24)))


def start(data: Path, teacher: str, scenario: Scenario, *distributed: str, **settings: Any) -> Any:
    """A trainer, with a student that is always the same."""
    from tiny import make_criterion, make_model, make_task, make_trainer

    flags = ["--criterion", "word_kd", "--teacher-path", teacher, *scenario.flags]
    task = make_task(data, *flags)
    criterion = make_criterion(task, "word_kd", teacher_path=teacher, **{**dict(scenario.settings), **settings})
    return make_trainer(data, task, make_model(task, *flags), criterion, *flags, *distributed)


def weights(trainer: Any) -> dict[str, torch.Tensor]:
    """Of what is trained: fairseq 0.12 keeps copies for fast inference, `in_proj_weight` and so on, and fills them."""
    found = trainer.get_model().named_parameters()
    return {name: weight.detach().clone() for name, weight in found if not name.endswith(("_weight", "_bias"))}


def queue(trainer: Any) -> torch.Tensor | None:
    found = trainer.get_criterion().queue
    return None if found is None else found.view(torch.float32).clone()


def run(data: Path, teacher: str, out: Path, scenario: Scenario, rank: int) -> dict[str, Any]:
    """Three updates, the last after a pause, from a checkpoint."""
    from tiny import batch, write

    distributed = ["--distributed-world-size", "2", "--ddp-backend", scenario.backend]
    distributed += ["--find-unused-parameters"] * scenario.find_unused
    trainer = start(data, teacher, scenario, *distributed)
    queues = []
    for update in UPDATES[:2]:
        trainer.train_step([batch(trainer.task, update[rank])])
        queues.append(queue(trainer))
    path = out / f"{scenario}.pt"
    if rank == 0:
        write(path, trainer)
    torch.distributed.barrier()
    resumed = start(data, teacher, scenario, *distributed)
    resumed.load_checkpoint(str(path))
    for each in (trainer, resumed):
        each.train_step([batch(each.task, UPDATES[2][rank])])
    return {
        "weights": weights(trainer),
        "resumed": weights(resumed),
        "queues": [*queues, queue(trainer), queue(resumed)],
        "wrapper": type(trainer.model.module).__name__,
    }


class Messages(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def main(data: Path, teacher: str, out: Path) -> None:
    sys.path.insert(0, str(TESTS))
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank, found = torch.distributed.get_rank(), {}
    for scenario in [*SAME, *UNUSED, *SELECT, *OWN]:
        messages = Messages()
        logging.getLogger("fairseq_lskd").addHandler(messages)
        try:
            found[str(scenario)] = run(data, teacher, out, scenario, rank)
        except Exception:
            found[str(scenario)] = {"error": traceback.format_exc()}
        found[str(scenario)]["said"] = messages.said
        logging.getLogger("fairseq_lskd").removeHandler(messages)
    torch.save(found, out / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
