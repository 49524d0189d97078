"""The smoothed loss as a function of the label's logit, and its minimum: Shen et al. (ICLR 2021), Fig. 3.

Of `K` classes, the label has the logit `z` and all others 0. With `K = 2` this is the logistic loss. Without smoothing
the loss always falls as the logit grows. With smoothing it has a minimum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from ..errors import UserError
from ..losses import negative_log_likelihood, smoothed_cross_entropy, smoothing_term
from .document import Picture, Section, Table
from .style import figure, line, styled

ALPHAS = (0.0, 0.05, 0.1, 0.2, 0.4)


@dataclass(frozen=True)
class Minimum:
    """The minimum of the smoothed loss. Without smoothing the logit is infinite and the loss 0."""

    logit: float
    loss: float  #: nats; it is the entropy of the smoothed target
    probability: float  #: probability of the label


def smoothed_loss(logits: Tensor, label_smoothing: float, classes: int = 2) -> Tensor:
    """Return the smoothed cross-entropy in nats for logits of the label, if all other logits are 0.

    Args:
        logits: `[...]`, logits of the label.
        label_smoothing: `alpha` in [0, 1), equation (1).
        classes: K, at least 2.

    Returns:
        `[...]`, in the dtype of `logits`.
    """
    scores = torch.cat([logits[..., None], logits.new_zeros(*logits.shape, classes - 1)], dim=-1)
    log_probs = F.log_softmax(scores, dim=-1)
    label = torch.zeros(logits.shape, dtype=torch.long, device=logits.device)
    no_padding = torch.zeros_like(label, dtype=torch.bool)
    nll, smooth = negative_log_likelihood(log_probs, label, no_padding), smoothing_term(log_probs, no_padding)
    return smoothed_cross_entropy(nll, smooth, label_smoothing, classes)


def minimum(label_smoothing: float, classes: int = 2) -> Minimum:
    """Return the minimum: the label has probability 1 - alpha, so z = log((1 - alpha)(K - 1) / alpha)."""
    alpha = label_smoothing
    if alpha == 0:
        return Minimum(math.inf, 0.0, 1.0)
    loss = -(1 - alpha) * math.log(1 - alpha) - alpha * math.log(alpha / (classes - 1))
    return Minimum(math.log((1 - alpha) * (classes - 1) / alpha), loss, 1 - alpha)


def section(label_smoothings: Sequence[float] = ALPHAS, classes: int = 2) -> Section:
    """Return the section on the smoothed loss for some values of alpha and a number of classes.

    Raises:
        UserError: if an alpha is outside [0, 1), or there are fewer than two classes.
    """
    if classes < 2:
        raise UserError(f"smoothed loss of {classes} classes: expected at least 2")
    if wrong := [alpha for alpha in label_smoothings if not 0 <= alpha < 1]:
        raise UserError(f"label smoothing {', '.join(map(str, wrong))}: expected numbers in [0, 1)")
    least = {alpha: minimum(alpha, classes) for alpha in label_smoothings}
    finite = [found.logit for found in least.values() if math.isfinite(found.logit)]
    # Include the minima of all curves.
    logits = torch.linspace(min([-4.0, *(z - 2 for z in finite)]), max([8.0, *(z + 4 for z in finite)]), 121).double()
    losses = {alpha: smoothed_loss(logits, alpha, classes).tolist() for alpha in least}
    rows = [
        (alpha, round(z, 4), round(loss, 6))
        for alpha, curve in losses.items()
        for z, loss in zip(logits.tolist(), curve, strict=True)
    ]
    words = [
        f"Without smoothing, the loss of {classes} classes always falls as the label's logit grows. With smoothing "
        "alpha, its minimum is at the logit for which the label has probability 1 - alpha. Higher confidence is "
        "penalised."
    ]
    words += [
        f"alpha = {alpha:g}: the minimum is at a logit of {found.logit:.2f}, with a loss of {found.loss:.3f} nats."
        for alpha, found in least.items()
        if alpha > 0
    ]
    minima = [
        (alpha, found.logit if math.isfinite(found.logit) else None, found.probability, found.loss)
        for alpha, found in least.items()
    ]
    return Section(
        "The smoothed loss",
        words,
        [
            Table(
                "smoothed_loss_minima",
                "Minima of the smoothed loss.",
                ["alpha", "logit", "probability of the label", "loss (nats)"],
                minima,
            ),
            Table("smoothed_loss", "Smoothed loss by logit of the label.", ["alpha", "logit", "loss (nats)"], rows),
        ],
        [
            Picture(
                "smoothed_loss",
                f"Smoothed loss of {classes} classes by logit of the label. Dots are minima.",
                _draw(logits.tolist(), losses, least),
                "smoothed_loss",
            )
        ],
    )


@styled
def _draw(logits: Sequence[float], losses: Mapping[float, Sequence[float]], least: Mapping[float, Minimum]) -> Figure:
    drawn = figure(7.0, 3.2)
    panel = drawn.subplots()
    for index, (alpha, found) in enumerate(least.items()):
        looks = line(index) | {"marker": None}
        panel.plot(logits, losses[alpha], label=f"\N{GREEK SMALL LETTER ALPHA} = {alpha:g}", **looks)
        if math.isfinite(found.logit):
            panel.plot([found.logit], [found.loss], "o", color=looks["color"])
    top = max(max(curve[-1], 2 * least[alpha].loss) for alpha, curve in losses.items())
    first = max(curve[0] for curve in losses.values())
    highest = min(1.15 * top, first)
    if highest > 0:
        panel.set_ylim(0, highest)
        # Begin where a curve first falls below the upper limit.
        seen = [z for i, z in enumerate(logits) if min(curve[i] for curve in losses.values()) < highest]
        panel.set_xlim(seen[0] - 0.5, logits[-1])
    panel.set_xlabel("logit of the label (all others are 0)")
    panel.set_ylabel("loss in nats")
    panel.legend(title="dots: minima", ncols=2)
    return drawn
