"""A sampled teacher: the exact probabilities of its k most probable classes (the head), and draws from the tail.

Cutting off the tail biases the student, but importance sampling keeps the expected gradient of the forward KL
(Anshumann et al., ACL 2025, *Sparse Logit Sampling*). This gradient is `p_S - p_T` with respect to the logits. It is
linear in the teacher, so any unbiased estimate of `p_T` gives an unbiased gradient.

The tail has the probability mass `rest`. `m` of its classes are drawn in proportion to the teacher's probabilities, and
each draw has the weight `rest / m`. The draws are *systematic* (Kong et al., 1994; Kitagawa, 1996): one random number
places m equidistant points on the tail's cumulative probabilities. As with independent draws, a class is drawn
`m p_k / rest` times on average. With systematic draws its number of draws differs from that by less than 1, so their
variance is smaller.

Other divergences are not linear in the teacher, so their gradients would be biased.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from .topk import TopK, top_k


class Sampled(NamedTuple):
    """Classes with weights at each token. The expectation of the weights is the teacher's distribution."""

    ids: Tensor  #: [..., n] int64; a class may occur more than once
    probs: Tensor  #: [..., n] float32, the weights; they sum to 1
    negentropy: Tensor  #: [...] float32, `sum_k p_T(k) log p_T(k)` of all classes; NaN at tokens without a teacher

    def rows(self, rows: slice | Tensor) -> Sampled:
        """Select tokens."""
        return Sampled(*(member[rows] for member in self))

    def scatter(self, mask: Tensor) -> Sampled:
        """Put the N tokens of a mask `[B, T]` at their places, `[B, T, n]`; all other tokens have no teacher."""
        found = Sampled(*(member.new_zeros(*mask.shape, *member.shape[1:]) for member in self))
        found.negentropy.fill_(torch.nan)
        for whole, part in zip(found, self, strict=True):
            whole[mask] = part
        return found


class Draws(NamedTuple):
    """The head of the distributions at N tokens, and draws from the tail, as a sampled cache stores them."""

    ids: Tensor  #: [N, k] int64, the most probable class first
    log_probs: Tensor  #: [N, k], nats
    rest: Tensor  #: [N], log of the tail's mass; NaN at tokens without a teacher
    entropy: Tensor  #: [N], `-sum_k p_k log p_k` of the tail, at least 0
    drawn: Tensor  #: [N, R, m] int64, classes of the tail: R copies of m draws

    def copy(self, number: int) -> Sampled:
        """Return the `Sampled` of one copy of the draws."""
        drawn = self.drawn[:, number]
        # `rest` is -inf for a tail without mass, which gives the weight 0.
        tail = (self.rest.unsqueeze(-1).exp() / drawn.size(-1)).expand(drawn.shape)
        head = (self.log_probs.exp() * self.log_probs).nan_to_num(0.0).sum(-1)
        return Sampled(
            torch.cat([self.ids, drawn], -1),
            torch.cat([self.log_probs.exp(), tail], -1),
            # NaN at tokens without a teacher.
            torch.where(self.rest.isnan(), self.rest, head - self.entropy),
        )


def draw(log_probs: Tensor, k: int, m: int, chance: Tensor) -> Draws:
    """Take the k most probable classes of each distribution, and make R copies of m draws from the others.

    Args:
        log_probs: `[N, K]`, normalised.
        k: 1 to K - 1.
        m: 1 or more.
        chance: `[N, R]` float64, independent and uniform in [0, 1).
    """
    best: TopK = top_k(log_probs, k)
    tail = log_probs.double().exp().scatter_(-1, best.ids, 0.0)
    entropy = torch.special.entr(tail).sum(-1)
    reached = tail.cumsum_(-1)
    points = (chance.unsqueeze(-1) + torch.arange(m, device=chance.device)) / m * reached[:, -1:, None]
    drawn = torch.searchsorted(reached, points.flatten(1), right=True)
    # If the tail has no mass, or a point was rounded up to its end, take the last class with mass.
    last = torch.searchsorted(reached, reached[:, -1:].contiguous())
    drawn = torch.minimum(drawn, last).view(points.shape)
    return Draws(best.ids, best.log_probs, best.rest, entropy.to(log_probs.dtype), drawn)


def without_missing_sampled(teacher: Sampled) -> tuple[Sampled, Tensor]:
    """Replace tokens without a teacher by weights of 0. Also return the mask `[...]` of tokens with a teacher."""
    known = ~teacher.negentropy.isnan()
    wide = known.unsqueeze(-1)
    ids, probs = teacher.ids.masked_fill(~wide, 0), teacher.probs.masked_fill(~wide, 0.0)
    return Sampled(ids, probs, teacher.negentropy.masked_fill(~known, 0.0)), known


def tail_variance(log_probs: Tensor, most: int) -> Tensor:
    """Return the variance of the estimate with heads of 1, 2, ..., `most` classes and one independent draw, `[most]`.

    This is the variance of the forward KL's gradient with respect to the logits, summed over classes and averaged over
    tokens: `rest^2 - sum_(k in the tail) p_k^2`. Independent draws divide it by m, and systematic draws by more.

    Args:
        log_probs: `[N, K]`, normalised.
        most: less than K.
    """
    probs = log_probs.double().exp().sort(dim=-1, descending=True).values
    rest = (1 - probs[:, :most].cumsum(-1)).clamp_min(0.0)
    squares = probs.square()
    tail = squares.sum(-1, keepdim=True) - squares[:, :most].cumsum(-1)
    return (rest.square() - tail).clamp_min(0.0).mean(0)


def choose_head(log_probs: Tensor, spent: dict[int, int]) -> int:
    """Return the size k of the head with the smallest variance.

    Args:
        log_probs: `[N, K]` for a sample of tokens.
        spent: for each k to choose from, the number of draws that fit beside a head of k; 1 or more.

    Raises:
        ValueError: if `spent` is empty.
    """
    if not spent:
        raise ValueError("no head to choose from")
    variance = tail_variance(log_probs, max(spent))
    return min(spent, key=lambda k: float(variance[k - 1]) / spent[k])


class Error(NamedTuple):
    """The error of estimates of the forward KL's gradient: Euclidean norms per token, averaged over tokens."""

    bias: float  #: distance of the estimates' mean from the exact gradient
    chance: float  #: expected distance of the mean of as many unbiased estimates
    deviation: float  #: standard deviation of a single estimate


def gradient_error(log_probs: Tensor, estimates: Iterable[Tensor]) -> Error:
    """Compute the error of estimates of the distribution with these log-probabilities, `[N, K]` each.

    The gradient with respect to the student's logits is `p_S - p_T`, so its error does not depend on the student.
    """
    whole = log_probs.double().exp()
    bias, squares, count = torch.zeros_like(whole), torch.zeros(len(whole), dtype=torch.float64), 0
    for estimate in estimates:
        off = estimate.double() - whole
        bias += off
        squares += off.square().sum(-1)
        count += 1
    bias /= count
    variance = (squares - count * bias.square().sum(-1)).clamp_min(0.0) / max(1, count - 1)
    return Error(
        float(bias.norm(dim=-1).mean()),
        float((variance / count).sqrt().mean()),
        float(variance.mean().sqrt()),
    )


def label_variance(log_probs: Tensor) -> float:
    """Return the variance of the gradient if a label drawn from each of these distributions, `[N, K]`, replaces it.

    It is `1 - sum_k p(k)^2`, the mean squared distance between a one-hot vector and the distribution, averaged over
    tokens. Training on the teacher's samples has this noise, so it is a scale for `Error.deviation` squared.
    """
    return float((1 - log_probs.double().exp().square().sum(-1)).clamp_min(0.0).mean())


def dense(teacher: Sampled, classes: int) -> Tensor:
    """Return the estimate of the distribution, `[N, K]`."""
    found = teacher.probs.new_zeros(len(teacher.probs), classes)
    return found.scatter_add_(-1, teacher.ids, teacher.probs)
