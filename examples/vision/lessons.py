"""Run one seed of the experiment: teachers with and without smoothing, and their students."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import networks
import numpy as np
import torch
import torch.nn.functional as F
from images import Images
from networks import Classifier
from torch import Tensor
from tqdm import tqdm
from training import Loss, Schedule, features, from_labels, from_teacher, logits, train

from fairseq_lskd.files import write_beside

#: Kinds of students.
STUDENTS = ("cnn", "binary")


@dataclass(frozen=True)
class Sizes:
    """For each network: width of the first stage, number of stages, and number of blocks per stage."""

    teacher: tuple[int, int, int] = (24, 2, 1)
    cnn: tuple[int, int, int] = (6, 2, 1)
    binary: tuple[int, int, int] = (12, 2, 2)


#: For colour images of 32 x 32 pixels: about ResNet-18, one third of its width, and its binary form. Hours on a GPU.
CIFAR_SIZES = Sizes((64, 4, 2), (20, 4, 1), (64, 4, 4))


def intra_class_variance(probs: Tensor, labels: Tensor) -> float:
    """Return `1 - S` (the paper's equation 2) over the classes that occur."""
    inside = []
    for label in labels.unique():
        mine = probs[labels == label].double()
        inside.append((mine - mine.mean(0)).square().sum(1).mean())
    return torch.stack(inside).mean().item()


def teach(
    images: Images, sizes: Sizes, schedule: Schedule, smoothings: tuple[float, float], temperature: float, seed: int,
    device: torch.device, arrays: Path,
) -> list[dict[str, Any]]:  # fmt: skip
    """Train all networks of one seed, and save the outputs of the teachers for `lskd analyze --from-npz`.

    Returns:
        A row per network: system, kind, teacher_smoothing, seed, accuracy (%, on validation images), training loss and
        cross-entropy of the last epoch (nats per image), parameters, and epochs. Teachers also have `1 - S` on
        validation and training images, and their entropy on training images.
    """
    channels = images.train[0].size(1)
    rows: list[dict[str, Any]] = []
    progress = tqdm(total=2 + 3 * len(STUDENTS), desc=f"seed {seed}", unit=" networks", disable=None)

    def network(kind: str) -> Classifier:
        # Networks of one kind have the same initial weights, whatever the teacher.
        torch.manual_seed(1000 * seed + 1 + (*STUDENTS, "teacher").index(kind))
        make = networks.binary if kind == "binary" else networks.convolutional
        width, stages, blocks = getattr(sizes, kind)
        return make(channels, images.classes, width, stages, blocks)

    def learn(kind: str, system: str, smoothing: float | None, loss: Callable[[], Loss]) -> tuple[Classifier, dict]:
        made = network(kind)
        history = train(made, images, loss(), schedule, seed, device)
        row = {"system": system, "kind": kind, "teacher_smoothing": smoothing, "seed": seed}
        last = history[-1]
        row |= {"accuracy": last.accuracy, "loss": last.loss, "cross_entropy": last.cross_entropy}
        row |= {"parameters": sum(p.numel() for p in made.parameters()), "epochs": [asdict(each) for each in history]}
        rows.append(row)
        progress.update()
        return made, row

    teachers = {}
    for smoothing in smoothings:
        teachers[smoothing], row = learn(
            "teacher", f"teacher-{smoothing:g}", smoothing, lambda s=smoothing: from_labels(s)
        )
        path = arrays / f"teacher-{smoothing:g}-seed{seed}.npz"
        row |= _measure_teacher(teachers[smoothing], smoothing, images, device, path)
    for kind in STUDENTS:
        learn(kind, f"{kind}, labels", None, lambda: from_labels(0.0))
        for smoothing, teacher in teachers.items():
            learn(kind, f"{kind} of {smoothing:g}", smoothing, lambda t=teacher: from_teacher(t, temperature))
    progress.close()
    return rows


def _measure_teacher(
    teacher: Classifier, smoothing: float, images: Images, device: torch.device, path: Path
) -> dict[str, float]:
    """Measure a teacher on both splits, and save its outputs."""
    pixels, labels = (torch.cat(parts) for parts in zip(images.train, images.valid, strict=True))
    split = ["train"] * len(images.train[1]) + ["valid"] * len(images.valid[1])
    scores = logits(teacher, pixels, device)
    with write_beside(path) as part, part.open("wb") as stream:
        np.savez_compressed(
            stream,
            logits=scores.numpy(),
            labels=labels.numpy(),
            features=features(teacher, pixels, device).numpy(),
            output_matrix=teacher.output.weight.detach().cpu().numpy(),
            output_bias=teacher.output.bias.detach().cpu().numpy(),
            split=np.array(split),
            label_smoothing=smoothing,
        )
    seen = len(images.train[1])
    log_probs = F.log_softmax(scores, dim=-1)
    probs = log_probs.exp()
    return {
        "variance_train": intra_class_variance(probs[:seen], labels[:seen]),
        "variance_valid": intra_class_variance(probs[seen:], labels[seen:]),
        "entropy_train": float(-(probs * log_probs)[:seen].sum(1).mean()),
    }
