"""Train a network with labels or with a teacher, using the losses of fairseq_lskd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from images import Images, shifted
from networks import Classifier
from torch import Tensor

from fairseq_lskd.losses import Objective, negative_log_likelihood, smoothed_cross_entropy, smoothing_term, teacher_loss

#: A function of images `[N, C, H, W]`, labels `[N]` and the student's log-probabilities `[N, K]`. It returns losses to
#: minimise, losses to report, and entropies of the targets (`[N]` each, nats).
Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Schedule:
    """Length and learning rate of the training. The learning rate falls linearly to 0."""

    epochs: int
    batch: int = 64
    lr: float = 3e-3
    shift: int = 1  #: maximum shift in pixels
    flip: bool = False


@dataclass(frozen=True)
class Epoch:
    """Mean losses of an epoch, and the validation accuracy after it."""

    loss: float  #: nats per image; with a teacher, the KL at the temperature
    cross_entropy: float  #: nats per image; with a teacher, the KL plus the teacher's entropy at the temperature
    accuracy: float | None  #: %; None: not measured


def from_labels(label_smoothing: float) -> Loss:
    """Return the cross-entropy with a smoothed target (the paper's equation 1)."""

    def loss(images: Tensor, labels: Tensor, log_probs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        no_padding = torch.zeros_like(labels, dtype=torch.bool)
        nll, smooth = negative_log_likelihood(log_probs, labels, no_padding), smoothing_term(log_probs, no_padding)
        found = smoothed_cross_entropy(nll, smooth, label_smoothing, log_probs.size(-1))
        return found, found, torch.zeros_like(found)  # the loss itself is a cross-entropy

    return loss


def from_teacher(teacher: Classifier, temperature: float = 1.0) -> Loss:
    """Return the divergence from the teacher's distribution (lambda = 0, as in the paper's experiments with images)."""
    objective = Objective(temperature=temperature)
    teacher.eval()

    def loss(images: Tensor, labels: Tensor, log_probs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            says = F.log_softmax(teacher(images) / temperature, dim=-1)
        found = teacher_loss(log_probs, says, torch.zeros_like(labels, dtype=torch.bool), objective)
        # The loss has the factor T^2 for its gradient. Report the KL without it.
        return found, found / temperature**2, -(says.exp() * says).sum(-1)

    return loss


def train(
    network: Classifier, images: Images, loss: Loss, schedule: Schedule, seed: int, device: torch.device
) -> list[Epoch]:
    """Train a network in place. The batches depend only on the seed."""
    random = torch.Generator().manual_seed(seed)
    pixels, labels = images.train
    network.to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=schedule.lr)
    steps = schedule.epochs * -(-len(labels) // schedule.batch)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    history = []
    # Validate about thirty times, because there may be more validation than training images.
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
    """Return the logits `[N, classes]` in eval mode, on the CPU."""
    network.eval()
    return torch.cat([network(part.to(device)).cpu() for part in images.split(512)])


@torch.no_grad()
def features(network: Classifier, images: Tensor, device: torch.device) -> Tensor:
    """Return the input of the output layer, `[N, features]`, in eval mode, on the CPU."""
    network.eval()
    return torch.cat([network.body(part.to(device)).cpu() for part in images.split(512)])
