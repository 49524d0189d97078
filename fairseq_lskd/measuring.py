"""fairseq's models and data, fed to `analysis`, which knows neither."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .analysis.measurement import Measurement, Plan
from .errors import UserError
from .teachers import OnlineTeacher
from .teachers.checkpoint import read_archive, read_checkpoint
from .teachers.forced import TeacherForcing, dropout

#: Sentences that are searched for the token types of a picture, spread over the split.
SEARCHED = 50_000


@dataclass(frozen=True)
class Origin:
    """What a checkpoint and the record of its run say of how it was trained; None where they do not."""

    smoothing: float | None
    teacher_smoothing: float | None
    teacher_path: str | None
    temperature: float | None


def origin(paths: str) -> Origin:
    """Of a checkpoint, or of the first of several joined by `:`.

    Raises:
        UserError: if it cannot be read, or a weight of any of them is not a number.
    """
    for path in paths.split(":"):
        _check_weights(path)
    first = Path(paths.split(":")[0])
    options = read_checkpoint(first)["cfg"].get("criterion")
    name = getattr(options, "_name", None)
    smoothing = getattr(options, "label_smoothing", 0.0 if name == "cross_entropy" else None)
    taught = getattr(options, "teacher_path", None)
    found = {"teacher_smoothing": None, "temperature": None} | _labels(first.parent / "run.json")
    temperature = found["temperature"]
    if temperature is None and (taught or getattr(options, "teacher_cache", None)):
        temperature = getattr(options, "kd_temperature", None)
    return Origin(
        None if smoothing is None else float(smoothing),
        _number(found["teacher_smoothing"]),
        None if taught in (None, "none") else str(taught),
        _number(temperature),
    )


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _labels(record: Path) -> dict[str, Any]:
    try:
        labels = json.loads(record.read_text(encoding="utf-8"))["labels"]
        return {name: labels[name] for name in ("teacher_smoothing", "temperature") if labels.get(name) is not None}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def same_file(one: str, other: str) -> bool:
    """Whether two paths of checkpoints, each maybe several joined by `:`, are of the same files."""
    first, second = one.split(":"), other.split(":")
    return len(first) == len(second) and all(
        Path(a).resolve() == Path(b).resolve() for a, b in zip(first, second, strict=True)
    )


def _check_weights(path: str) -> None:
    weights = read_archive(path)["model"]
    broken = [name for name, weight in weights.items() if not bool(torch.isfinite(weight).all())]
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise UserError(
            f"{path} holds weights that are not numbers (NaN or infinite) in {broken[0]}{more}: its training has "
            "diverged; take an earlier checkpoint, or train it again with a lower --lr or with --clip-norm"
        )


def load_split(task: Any, split: str) -> Any:
    """The dataset of a split.

    Raises:
        UserError: if the data has no such split.
    """
    try:
        task.load_dataset(split)
    except FileNotFoundError:
        pair = f"{task.cfg.source_lang}-{task.cfg.target_lang}"
        files = Path(task.cfg.data).glob(f"*.{pair}.{task.cfg.target_lang}.idx")
        there = ", ".join(sorted(path.name.split(".")[0] for path in files)) or "none"
        raise UserError(f"--split {split}: {task.cfg.data} has no such split of {pair}; it has: {there}") from None
    return task.dataset(split)


def count_types(dataset: Any, ids: np.ndarray, classes: int, padding: int) -> Tensor:
    """`[V]` int64, how often each target token type occurs in these sentences."""
    counts = torch.zeros(classes, dtype=torch.int64)
    for start in range(0, len(ids), 10_000):
        block = torch.cat([dataset.tgt[i] for i in ids[start : start + 10_000]])
        counts += torch.bincount(block.long(), minlength=classes)
    counts[padding] = 0
    return counts


def holding(dataset: Any, types: list[int], most: int) -> np.ndarray:
    """Sentences in which each of the types occurs `most` times if there are so many, spread over the dataset."""
    total = len(dataset)
    order = np.unique(np.linspace(0, total - 1, min(total, SEARCHED)).astype(np.int64))
    # Not in the corpus's order, which may go by subject.
    order = np.random.default_rng(1).permutation(order)
    wanted, found = dict.fromkeys(types, most), []
    for i in order:
        here = dataset.tgt[i].numpy()
        useful = False
        for kind in [kind for kind, left in wanted.items() if left > 0]:
            if occurs := int((here == kind).sum()):
                wanted[kind] -= occurs
                useful = True
        if useful:
            found.append(i)
        if all(left <= 0 for left in wanted.values()):
            break
    return np.sort(np.array(found, dtype=np.int64))


class Model:
    """A teacher or student that is being measured."""

    def __init__(self, paths: str, name: str, task: Any, teacher_data: str | None, like: Tensor, max_tokens: int):
        """Load checkpoints joined by `:`, which fit the task.

        Raises:
            UserError: if one cannot be read or does not fit.
        """
        self.paths, self.name, self.task, self.like, self.max_tokens = paths, name, task, like, max_tokens
        self.teacher = OnlineTeacher.from_checkpoints(paths, task, teacher_data, beside="data")
        why = self.teacher.why_not_projected
        #: Why there are no penultimate activations; None if there are.
        self.why_no_points = "it is an ensemble" if why is None and len(self.teacher.models) > 1 else why

    def forcing(self, dataset: Any) -> TeacherForcing:
        """The model under teacher forcing on a dataset."""
        return TeacherForcing(self.teacher, self.task, dataset, self.like, self.max_tokens)

    @property
    def output(self) -> Tensor | None:
        """`[V, D]` float32, the output matrix, where there are penultimate activations."""
        if self.why_no_points:
            return None
        return self.teacher.models[0].decoder.output_projection.weight.detach().float().cpu()

    def measure(self, dataset: Any, ids: np.ndarray, plan: Plan, progress: Callable[[int], Any]) -> Measurement:
        """Measure these sentences; `progress` is told the number of tokens of each step.

        Raises:
            UserError: if the probabilities are not numbers.
        """
        found: Measurement | None = None
        source = self.forcing(dataset)
        for batch in source.batches(ids):
            for said in source.say(batch):
                if found is None:
                    dim = None if said.hidden is None else said.hidden.size(1)
                    found = Measurement(plan, dim, said.log_probs.device)
                try:
                    found.update(said.log_probs, said.target, said.sentence, said.hidden)
                except ValueError:
                    raise UserError(
                        f"{self.paths}: at sentence {int(said.sentence[0])} its probabilities are not numbers"
                    ) from None
                progress(len(said.target))
        return found or Measurement(plan)

    def _asked(self, dataset: Any, ids: np.ndarray, types: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Log-probabilities of the types, activations and targets, at the targets that are one of the types."""
        source = self.forcing(dataset)
        for batch in source.batches(ids):
            for said in source.say(batch):
                at = torch.isin(said.target, types.to(said.target.device))
                hidden = said.log_probs[:, :0] if said.hidden is None else said.hidden
                scores = said.log_probs[at][:, types.to(said.log_probs.device)]
                yield scores.cpu(), hidden[at].float().cpu(), said.target[at].cpu()

    def cloud(self, dataset: Any, ids: np.ndarray, types: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """`[N, D]` activations at targets of these types, and `[N]` which of them each is; at most `most` of each."""
        _, hidden, target = (torch.cat(parts) for parts in zip(*self._asked(dataset, ids, types), strict=True))
        member = (target[:, None] == types).int().argmax(1)
        first = torch.cat([(member == i).nonzero().squeeze(1)[:most] for i in range(len(types))])
        return hidden[first], member[first]

    def looks(self, dataset: Any, ids: np.ndarray, types: Tensor, most: int, draws: int) -> Tensor | None:
        """`[N, draws]`, the difference of two types' logits at targets of either, each under the training's dropout.

        None where the model has no dropout. The N occurrences are at most `most` of each type.
        """
        found = []
        for seed in range(1, draws + 1):
            with dropout(self.teacher, seed):
                parts = list(self._asked(dataset, ids, types))
            scores, _, target = (torch.cat(part) for part in zip(*parts, strict=True))
            rows = torch.cat([(target == kind).nonzero().squeeze(1)[:most] for kind in types])
            found.append((scores[:, 0] - scores[:, 1])[rows])
        values = torch.stack(found, 1)
        return None if torch.equal(values[:, 0], values[:, -1]) else values
