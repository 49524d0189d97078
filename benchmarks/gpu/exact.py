"""Check the results computed on a GPU.

Losses and criterions are compared with float64 on the CPU, by the relative norm of losses and gradients. Trainings with
the fused form are compared with the plain form, and caches, checkpoints and translations between GPU and CPU. There is
one row per check, with its limit. `ok` is false if the limit is exceeded.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import student_throughput as throughput
import torch
import torch.nn.functional as F
from torch import Tensor

from fairseq_lskd.cli import main as lskd
from fairseq_lskd.losses import (
    Objective,
    Projection,
    divergence,
    fused_loss,
    mix_log_probs,
    negative_log_likelihood,
    smoothed_cross_entropy,
    smoothing_term,
    teacher_loss,
    temper,
    top_k,
)
from fairseq_lskd.sequences.nbest import read_nbest
from fairseq_lskd.teachers import CachedTeacher

from .stage import Run, stage

#: dtype -> maximum relative error of the loss and of its gradients. Gradients and factors of their products are rounded
#: to the dtype.
LIMITS = {"float32": (1e-5, 1e-4), "float16": (1e-4, 2e-3), "bfloat16": (1e-4, 1e-2)}
OBJECTIVES = {
    "forward_kl": Objective(),
    "forward_kl T=2": Objective(temperature=2.0),
    "reverse_kl": Objective(divergence("reverse_kl")),
    "jensen_shannon": Objective(divergence("jensen_shannon")),
    "total_variation": Objective(divergence("total_variation")),
    "top 8": Objective(top_k=8),
    "ranking 5": Objective(ranking=5),
}
PRECISIONS = ["", "--fp16", "--memory-efficient-fp16", "--bf16", "--amp"]
#: Precisions that fairseq supports on a CPU.
REHEARSED = ["", "--memory-efficient-bf16", "--amp"]
CRITERIONS = {
    "label_smoothed_teacher": "label_smoothed_teacher",
    "word_kd": "word_kd --teacher-path {teacher}",
    "word_kd cached": "word_kd --teacher-cache {cache}",
    "word_kd, reverse, ranking": "word_kd --teacher-path {teacher} --kd-divergence reverse_kl --kd-ranking 5",
    "seq_kd": "seq_kd --teacher-path {teacher}",
}
#: Criterions with separate code paths. The checks are that they run on a GPU, and their losses.
RUNNING = {
    "selective, batch": "word_kd --teacher-path {teacher} --kd-select batch",
    "selective, global": "word_kd --teacher-path {teacher} --kd-select global --kd-queue-size 200",
    "on-policy": "word_kd --teacher-path {teacher} --kd-on-policy 1.0",
    "three iterations": "word_kd --teacher-path {teacher} --kd-iterations 3",
    "unigram prior": "label_smoothed_teacher --smoothing-prior unigram",
}


def measure(run: Run) -> None:
    for dtype in LIMITS:
        losses(run, dtype)
    with tempfile.TemporaryDirectory() as folder:
        data, places = begin(run, Path(folder))
        bench = Bench(run, data, places)
        for name, words in CRITERIONS.items():
            # A rehearsal has all criterions and all precisions, but not all combinations.
            for precision in (REHEARSED if name == "word_kd" else [""]) if run.rehearse else PRECISIONS:
                with run.part(check="gradients", what=name, precision=precision or "float32"):
                    gradients(bench, name, words, precision)
        for name, words in RUNNING.items():
            with run.part(check="runs", what=name):
                runs(bench, name, words)
        with run.part(check="cache", what="written on one, read on the other"):
            caches(bench, Path(folder))
        with run.part(check="checkpoint", what="written on one, read on the other"):
            checkpoints(bench, Path(folder))
        with run.part(check="translations", what="of one and of the other"):
            translations(bench, Path(folder))
        for precision in REHEARSED[:1] if run.rehearse else ("", "--fp16", "--bf16"):
            with run.part(check="training", what="fused against plain", precision=precision or "float32"):
                trainings(bench, precision)


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """Return `|found - wanted| / |wanted|`, computed in float64 on the CPU; infinity for NaN."""
    found, wanted = (tensor.detach().to("cpu", torch.float64).flatten() for tensor in (found, wanted))
    error = float((found - wanted).norm() / wanted.norm().clamp_min(1e-300))
    return math.inf if math.isnan(error) else error


def judge(run: Run, error: float, limit: float, **what: Any) -> None:
    """Write the row of a check. Infinite errors are null, because JSON has no infinity."""
    run.write(**what, error=float(f"{error:.3g}") if math.isfinite(error) else None, limit=limit, ok=error <= limit)


# Losses on plain tensors.


def losses(run: Run, dtype: str) -> None:
    tokens, classes, widths = (48, 200, (16, 24)) if run.rehearse else (1000, 8000, (256, 384))
    random = torch.Generator().manual_seed(1)

    def projection(width: int) -> Projection:
        hidden, weight = torch.randn(tokens, width, generator=random), torch.randn(classes, width, generator=random)
        # Round first, so that the reference uses the same numbers.
        return Projection(hidden.to(getattr(torch, dtype)), (weight * 2 / width**0.5).to(getattr(torch, dtype)))

    student, teachers = projection(widths[0]), [projection(widths[1]) for _ in range(2)]
    target = torch.randint(classes, (tokens,), generator=random)
    # Some tokens have a teacher weight of 0, which is a special case of the fused form.
    weights = torch.rand(tokens, generator=random), torch.rand(tokens, generator=random).mul(2).sub(0.5).clamp_min(0)
    prior = torch.rand(classes, generator=random).softmax(0)
    cases: list[tuple[str, Objective, int, bool, Tensor | None]] = [
        *((name, objective, 1, False, None) for name, objective in OBJECTIVES.items()),
        ("ensemble", Objective(temperature=2.0), 2, False, None),
        ("from a cache", Objective(), 1, True, None),
        ("unigram prior", Objective(), 1, False, prior),
        ("no teacher", Objective(), 0, False, None),
    ]
    for name, objective, members, cached, smoothing in cases:
        with run.part(check="loss", what=name, precision=dtype):
            whole = [_moved(teacher, torch.device("cpu"), torch.float64) for teacher in teachers[:members]]
            said = None
            if members:
                logs = (temper(F.log_softmax(F.linear(*t[:2]), -1), objective.temperature) for t in whole)
                said = mix_log_probs(logs)
            best = top_k(said, 16) if cached and said is not None else None
            wanted = _plain(
                _moved(student, torch.device("cpu"), torch.float64), target, weights, best or said, objective, smoothing
            )
            here = _moved(student, run.device)
            given: Any = None
            if best is not None:
                given = type(best)(best.ids.to(run.device), *(part.to(run.device, torch.float32) for part in best[1:]))
            elif members:
                given = [_moved(teacher, run.device) for teacher in teachers[:members]]
            found = fused_loss(
                here,
                target.to(run.device),
                weights[0].to(run.device),
                label_smoothing=0.1,
                prior=None if smoothing is None else smoothing.to(run.device),
                teacher=given,
                teacher_weight=weights[1].to(run.device) if members else None,
                objective=objective,
            )
            found.loss.backward()
            values = (found.loss, here.hidden.grad, here.weight.grad)
            for part, value, right in zip(("loss", "hidden", "matrix"), values, wanted, strict=True):
                limit = LIMITS[dtype][part != "loss"]
                judge(run, relative_error(value, right), limit, check="loss", what=name, precision=dtype, part=part)


def _moved(projection: Projection, device: torch.device, dtype: torch.dtype | None = None) -> Projection:
    hidden, weight = (tensor.detach().to(device, dtype or tensor.dtype).requires_grad_() for tensor in projection[:2])
    return Projection(hidden, weight)


def _plain(
    student: Projection,
    target: Tensor,
    weights: tuple[Tensor, Tensor],
    said: Any,
    objective: Objective,
    prior: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss and its gradients, computed on whole tensors in float64."""
    scores = F.log_softmax(F.linear(student.hidden, student.weight), -1)
    ignore = torch.zeros_like(target, dtype=torch.bool)
    smooth = smoothing_term(scores, ignore, prior)
    nll = negative_log_likelihood(scores, target, ignore)
    labels = smoothed_cross_entropy(nll, smooth, 0.1, scores.size(-1), prior is None)
    loss = (labels * weights[0].double()).sum()
    if said is not None:
        said = said.detach() if isinstance(said, Tensor) else type(said)(*(part.detach() for part in said))
        loss = loss + (teacher_loss(scores, said, ignore, objective) * weights[1].double()).sum()
    loss.backward()
    assert student.hidden.grad is not None and student.weight.grad is not None
    return loss, student.hidden.grad, student.weight.grad


# Criterions, in fairseq's Trainer.


def begin(run: Run, folder: Path) -> tuple[Path, dict[str, Path]]:
    """Write generated data, a teacher with random weights, and its cache computed on the CPU."""
    args = _args(run)
    with _stdout_to_stderr():
        data = throughput.make_data(folder, args.vocab, args.sentences)
        places = {"teacher": folder / "teacher.pt", "cache": folder / "cache"}
        throughput.make_teacher(_args(run, "cpu"), data, places["teacher"])
        throughput.make_cache(_args(run, "cpu"), data, places)
    return data, places


def _args(run: Run, device: str | None = None) -> Any:
    size = (
        "--vocab 60 --sentences 60 --width 16 --ffn 16 --heads 2"
        if run.rehearse
        else "--vocab 4000 --sentences 400 --width 128 --ffn 256 --heads 4"
    )
    words = f"{size} --encoder-layers 2 --decoder-layers 2 --max-tokens {200 if run.rehearse else 2000} --top-k 8"
    return throughput.parse([*words.split(), "--device", device or run.device.type])


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    with contextlib.redirect_stdout(sys.stderr), throughput.quiet():
        yield


class Bench:
    """Trainers for the same data on both devices."""

    def __init__(self, run: Run, data: Path, places: dict[str, Path]):
        self.run, self.data, self.places = run, data, places

    def trainer(self, criterion: str, *words: str, device: str | None = None) -> Any:
        with _stdout_to_stderr():
            criterion = " ".join([criterion.format(**self.places), *words])
            # Equal initial weights.
            torch.manual_seed(1)
            trainer = throughput.make_trainer(_args(self.run, device), self.data, criterion)
            trainer.get_train_iterator(1)  # initialises the learning rate schedule
            trainer.begin_epoch(1)
        return trainer

    def batches(self, trainer: Any) -> Iterator[list[dict[str, Any]]]:
        """Yield the batches, which are the same for every trainer."""
        return throughput.batches(trainer)

    def losses(self, trainer: Any, updates: int) -> list[float]:
        """Return the losses of some updates in bits per token."""
        found = []
        with _stdout_to_stderr():
            for samples in itertools.islice(self.batches(trainer), updates):
                log = trainer.train_step(samples)
                # fairseq returns None for an update that it skipped because the loss scale was too large.
                found.append(float(log["loss"]) if log else math.nan)
        return found


def gradients(bench: Bench, name: str, words: str, precision: str) -> None:
    """Check the gradients of the first batch: the fused form's error may be slightly larger than the plain form's."""
    errors, losses = {}, {}
    for form in ("fused", "plain"):
        trainer = bench.trainer(words, f"--loss-form {form} --dropout 0", precision)
        sample = next(bench.batches(trainer))[0]
        loss, found = _gradient(trainer, sample)
        if form == "fused":
            wanted_loss, wanted = _reference(bench, words, trainer, sample)
        errors[form] = relative_error(found, wanted)
        losses[form] = abs(loss - wanted_loss) / abs(wanted_loss)
    run, what = bench.run, {"check": "gradients", "what": name, "precision": precision or "float32"}
    judge(
        run,
        errors["fused"],
        max(1e-4, 1.1 * errors["plain"]),
        **what,
        part="all",
        plain=float(f"{errors['plain']:.3g}"),
    )
    judge(run, losses["fused"], max(1e-5, 2 * losses["plain"], 1e-3 * bool(precision)), **what, part="loss")


def _gradient(trainer: Any, sample: dict[str, Any]) -> tuple[float, Tensor]:
    """Return the loss and its gradient with respect to all parameters, without the loss scale."""
    with _stdout_to_stderr():
        trainer.zero_grad()
        sample, _ = trainer._prepare_sample(sample)
        loss, _, _ = trainer.task.train_step(sample, trainer.model, trainer.criterion, trainer.optimizer, 0)
    scaler = getattr(trainer.optimizer, "scaler", None)
    scale = 1.0
    if scaler is not None:
        scale = float(scaler.get_scale() if hasattr(scaler, "get_scale") else scaler.loss_scale)
    parts = [
        (p.grad if p.grad is not None else torch.zeros_like(p)).detach().to("cpu", torch.float64).flatten() / scale
        for p in trainer.model.parameters()
    ]
    return float(loss), torch.cat(parts)


def _reference(bench: Bench, words: str, like: Any, sample: dict[str, Any]) -> tuple[float, Tensor]:
    """Return loss and gradient for the same weights, computed in float64 on the CPU with the plain form."""
    trainer = bench.trainer(words, "--loss-form plain --dropout 0", device="cpu")
    model = trainer.model.double()
    weights = {name: tensor.detach().to("cpu", torch.float64) for name, tensor in like.model.state_dict().items()}
    # The state has entries that are not weights, such as _float_tensor of position encodings.
    model.load_state_dict({**model.state_dict(), **weights})
    model.train()
    trainer.criterion.train()
    loss, _, _ = trainer.criterion(model, copy.deepcopy(sample))
    model.zero_grad()
    loss.backward()
    parts = [(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in model.parameters()]
    return float(loss), torch.cat(parts)


def runs(bench: Bench, name: str, words: str) -> None:
    """Check that three updates have finite losses with both forms, and that the first losses agree."""
    found = {
        form: bench.losses(bench.trainer(words, f"--loss-form {form} --dropout 0"), 3) for form in ("fused", "plain")
    }
    first = [values[0] for values in found.values()]
    finite = all(map(math.isfinite, itertools.chain(*found.values())))
    error = abs(first[0] - first[1]) / abs(first[1]) if finite else math.inf
    # fairseq rounds logged losses to three decimals.
    judge(
        bench.run,
        error,
        1.0 if name == "on-policy" else 2e-3,
        check="runs",
        what=name,
        precision="float32",
        part="loss",
    )


def trainings(bench: Bench, precision: str) -> None:
    """Check that trainings with both forms end with the same loss."""
    updates = 5 if bench.run.rehearse else 200
    ends = {}
    for form in ("fused", "plain"):
        found = bench.losses(bench.trainer(CRITERIONS["word_kd"], f"--loss-form {form}", precision), updates)
        ends[form] = statistics.fmean(value for value in found[-max(1, updates // 10) :] if math.isfinite(value))
    error = abs(ends["fused"] - ends["plain"]) / ends["plain"]
    what = {"check": "training", "what": f"{updates} updates, fused against plain", "precision": precision or "float32"}
    judge(
        bench.run,
        error,
        0.02 if precision else 0.01,
        **what,
        part="loss",
        bits=[round(end, 4) for end in ends.values()],
    )


# Files that are written on one device and read on the other.


def caches(bench: Bench, folder: Path) -> None:
    """Check that caches of both devices agree, and that each works for training on the other device."""
    run = bench.run
    there = folder / "cache-there"
    with _stdout_to_stderr():
        throughput.make_cache(_args(run), bench.data, {**bench.places, "cache": there})
    task = bench.trainer("label_smoothed_teacher", device="cpu").task
    dataset = task.dataset("train")
    ids, lengths = torch.arange(len(dataset)), torch.as_tensor(dataset.tgt_sizes)
    ours, theirs = (CachedTeacher.open(path, task).lookup(ids, lengths) for path in (there, bench.places["cache"]))
    what = {"check": "cache", "precision": "float32"}
    # Compare only equal types: types with equal probabilities may be in another order.
    same = ours.ids.eq(theirs.ids)
    judge(run, 1 - float(same.double().mean()), 0.01, **what, what="classes of GPU and CPU", part="ids")
    error = relative_error(ours.log_probs[same], theirs.log_probs[same])
    judge(run, error, 1e-3, **what, what="classes of GPU and CPU", part="log-probabilities")
    words = "word_kd --teacher-cache {}"
    firsts = {
        (device, path.name): bench.losses(bench.trainer(words.format(path), "--dropout 0", device=device), 1)[0]
        for device in {"cpu", run.device.type}
        for path in (there, bench.places["cache"])
    }
    wanted = firsts["cpu", bench.places["cache"].name]
    for (device, name), value in firsts.items():
        judge(run, abs(value - wanted) / wanted, 2e-3, **what, what=f"training on {device}", part=name)


def checkpoints(bench: Bench, folder: Path) -> None:
    """Check that a training resumes on the other device: model, optimizer and the criterion's queue."""
    run, words = bench.run, RUNNING["selective, global"]
    here, cpu = run.device.type, "cpu"
    for first, second in ((here, cpu), (cpu, here)):
        trainer = bench.trainer(words, "--dropout 0", device=first)
        stream = bench.batches(trainer)
        path = folder / f"from-{first}-{second}.pt"
        with _stdout_to_stderr():
            for _ in range(2):
                trainer.train_step(next(stream))
            trainer.consolidate_optimizer()
            trainer.save_checkpoint(str(path), {"train_iterator": {"epoch": 1}, "val_loss": None})
            again = bench.trainer(words, "--dropout 0", device=second)
            again.load_checkpoint(str(path))
            samples = next(stream)
            logs = [float(each.train_step(copy.deepcopy(samples))["loss"]) for each in (again, trainer)]
        what = {"check": "checkpoint", "what": f"written on {first}, read on {second}", "precision": "float32"}
        judge(run, abs(logs[0] - logs[1]) / logs[1], 2e-3, **what, part="loss")
        queues = [each.criterion.queue.view(torch.float32).cpu().nan_to_num(0.0) for each in (again, trainer)]
        judge(run, relative_error(*queues), 1e-4, **what, part="queue")


def translations(bench: Bench, folder: Path) -> None:
    """Compare `lskd translate --engine fairseq` on both devices on a few sentences."""
    found = []
    for name in (bench.run.device.type, "cpu"):
        out = folder / f"nbest-{name}-{len(found)}.jsonl"
        words = [
            str(bench.data),
            "--teacher-path",
            str(bench.places["teacher"]),
            "--out",
            str(out),
            "--engine",
            "fairseq",
        ]
        words += ["--teacher-data", str(bench.data), "--device", name, "--compute-type", "float32", "--workers", "1"]
        words += ["--max-tokens", "1000", "--limit", "20", "--max-len-b", "10", "-s", "src", "-t", "tgt"]
        with _stdout_to_stderr():
            status = lskd(["translate", *words])
        if status:
            raise RuntimeError(f"lskd translate --device {name} ended with {status}")
        found.append([record["hypotheses"][0]["tokens"] for record in read_nbest(out)])
    differ = sum(a != b for a, b in zip(*found, strict=True)) / len(found[0])
    # A model with random weights has hypotheses with nearly equal scores, so that some may differ.
    judge(
        bench.run,
        differ,
        0.2,
        check="translations",
        what="best hypotheses that differ",
        precision="float32",
        part="share",
    )


if __name__ == "__main__":
    sys.exit(stage("exact", measure))
