"""Training a network on labels or by a teacher, with the losses of fairseq_lskd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from images import Images, shifted
from networks import Classifier
from torch import Tensor

from fairseq_lskd.losses import Objective, negative_log_likelihood, smoothed_cross_entropy, smoothing_term, teacher_loss

#: Of the images (`[N, C, H, W]`), labels `[N]` and a student's log-probabilities `[N, K]`: losses to minimise, the same
#: as they are reported, and the entropies of the targets, `[N]` each, nats.
Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast; the learning rate falls to 0 in a straight line."""

    epochs: int
    batch: int = 64
    lr: float = 3e-3
    shift: int = 1  # pixels, at most
    flip: bool = False


@dataclass(frozen=True)
class Epoch:
    """Means over an epoch of training, and the accuracy on the validation images after it, where it was measured."""

    loss: float  #: nats an image: of students with a teacher, the KL of both at the temperature
    cross_entropy: float  #: nats an image: of students with a teacher, the KL and the teacher's entropy there
    accuracy: float | None  #: %


def from_labels(label_smoothing: float) -> Loss:
    """Cross-entropy with a smoothed target, the paper's equation (1)."""

    def loss(images: Tensor, labels: Tensor, log_probs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        nobody = torch.zeros_like(labels, dtype=torch.bool)
        nll, smooth = negative_log_likelihood(log_probs, labels, nobody), smoothing_term(log_probs, nobody)
        found = smoothed_cross_entropy(nll, smooth, label_smoothing, log_probs.size(-1))
        return found, found, torch.zeros_like(found)  # it is a cross-entropy already

    return loss


def from_teacher(teacher: Classifier, temperature: float = 1.0) -> Loss:
    """The divergence from the teacher's distribution alone (lambda = 0, as in the paper's experiments with images)."""
    objective = Objective(temperature=temperature)
    teacher.eval()

    def loss(images: Tensor, labels: Tensor, log_probs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            says = F.log_softmax(teacher(images) / temperature, dim=-1)
        found = teacher_loss(log_probs, says, torch.zeros_like(labels, dtype=torch.bool), objective)
        # T^2 keeps the gradient's size; the KL itself is without it.
        return found, found / temperature**2, -(says.exp() * says).sum(-1)

    return loss


def train(
    network: Classifier, images: Images, loss: Loss, schedule: Schedule, seed: int, device: torch.device
) -> list[Epoch]:
    """Train in place; the same seed gives the same batches, whatever the loss."""
    random = torch.Generator().manual_seed(seed)
    pixels, labels = images.train
    network.to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=schedule.lr)
    steps = schedule.epochs * -(-len(labels) // schedule.batch)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    history = []
    # There may be more images to validate than to train on: some thirty looks at them make a curve.
    every = max(1, schedule.epochs // 30)
    for epoch in range(1, schedule.epochs + 1):
        network.train()
        total = rest = 0.0
        for chosen in torch.randperm(len(labels), generator=random).split(schedule.batch):
            batch = shifted(pixels[chosen], schedule.shift, schedule.flip, random).to(device)
            found, reported, entropy = loss(batch, labels[chosen].to(device), F.log_softmax(network(batch), dim=-1))
            optimizer.zero_grad()
            found.mean().backward()
            optimizer.step()
            decay.step()
            total += float(reported.detach().sum())
            rest += float(entropy.sum())
        accuracy = None
        if epoch % every == 0 or epoch == schedule.epochs:
            right = logits(network, images.valid[0], device).argmax(-1) == images.valid[1]
            accuracy = 100 * float(right.float().mean())
        history.append(Epoch(total / len(labels), (total + rest) / len(labels), accuracy))
    return history


@torch.no_grad()
def logits(network: Classifier, images: Tensor, device: torch.device) -> Tensor:
    """`[N, classes]`, on the CPU, of the network as it is used: in eval mode."""
    network.eval()
    return torch.cat([network(part.to(device)).cpu() for part in images.split(512)])


@torch.no_grad()
def features(network: Classifier, images: Tensor, device: torch.device) -> Tensor:
    """`[N, features]`, on the CPU: what the output layer sees."""
    network.eval()
    return torch.cat([network.body(part.to(device)).cpu() for part in images.split(512)])
