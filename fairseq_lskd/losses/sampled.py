"""A teacher known by its k most probable classes and by draws from all others: unbiased where a top k is not.

Anshumann et al. (ACL 2025, *Sparse Logit Sampling*): cutting the tail off biases the student, while importance sampling
keeps the gradient of the forward KL in expectation. It is `p_S - p_T` with respect to the logits, linear in the
teacher, so that any unbiased estimate of `p_T` will do. Here the head of k classes is exact. Of the tail, whose mass is
`rest`, `m` classes are drawn in proportion to the teacher's own probabilities, each with the weight `rest / m`. The
draws are *systematic* (Kong et al., 1994; Kitagawa, 1996): one random number places m equidistant points on the tail's
cumulative probabilities. A class is drawn `m p_k / rest` times on average, as by independent draws, but always less
than one time off that, so that their variance is smaller.

Other divergences are not linear in the teacher, and so have no unbiased gradient by these means.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from .topk import TopK, top_k


class Sampled(NamedTuple):
    """Classes at each token with weights whose expectation is the teacher's distribution."""

    ids: Tensor  #: [..., n] int64; one may stand there more than once
    probs: Tensor  #: [..., n] float32, the weights; they sum to 1
    negentropy: Tensor  #: [...] float32, `sum_k p_T(k) log p_T(k)` of all classes; NaN where there is no teacher

    def rows(self, rows: slice | Tensor) -> Sampled:
        """Some of the tokens."""
        return Sampled(*(member[rows] for member in self))

    def scatter(self, mask: Tensor) -> Sampled:
        """Of the N tokens in a mask `[B, T]`: `[B, T, n]`, with nothing known of the others."""
        found = Sampled(*(member.new_zeros(*mask.shape, *member.shape[1:]) for member in self))
        found.negentropy.fill_(torch.nan)
        for whole, part in zip(found, self, strict=True):
            whole[mask] = part
        return found


class Draws(NamedTuple):
    """The head, and draws from the tail, of distributions at N tokens: what a sampled cache keeps of a teacher."""

    ids: Tensor  #: [N, k] int64, the most probable class first
    log_probs: Tensor  #: [N, k], nats
    rest: Tensor  #: [N], log of the tail's mass; NaN where there is no teacher
    entropy: Tensor  #: [N], `-sum_k p_k log p_k` of the tail, at least 0
    drawn: Tensor  #: [N, R, m] int64, classes of the tail: R copies of m draws

    def copy(self, number: int) -> Sampled:
        """The teacher by one of the copies."""
        drawn = self.drawn[:, number]
        # -inf, of a tail without mass, has weight 0.
        tail = (self.rest.unsqueeze(-1).exp() / drawn.size(-1)).expand(drawn.shape)
        head = (self.log_probs.exp() * self.log_probs).nan_to_num(0.0).sum(-1)
        return Sampled(
            torch.cat([self.ids, drawn], -1),
            torch.cat([self.log_probs.exp(), tail], -1),
            # NaN where the teacher says nothing.
            torch.where(self.rest.isnan(), self.rest, head - self.entropy),
        )


def draw(log_probs: Tensor, k: int, m: int, chance: Tensor) -> Draws:
    """Keep the k most probable classes of normalised distributions, and draw m others for each number of chance.

    Args:
        log_probs: `[N, K]`; k: 1 or more, less than K; m: 1 or more.
        chance: `[N, R]` float64 in [0, 1), independent and uniform.
    """
    best: TopK = top_k(log_probs, k)
    tail = log_probs.double().exp().scatter_(-1, best.ids, 0.0)
    entropy = torch.special.entr(tail).sum(-1)
    reached = tail.cumsum_(-1)
    points = (chance.unsqueeze(-1) + torch.arange(m, device=chance.device)) / m * reached[:, -1:, None]
    drawn = torch.searchsorted(reached, points.flatten(1), right=True)
    # A tail without mass, or a point that was rounded up to its end: the last class that has some.
    last = torch.searchsorted(reached, reached[:, -1:].contiguous())
    drawn = torch.minimum(drawn, last).view(points.shape)
    return Draws(best.ids, best.log_probs, best.rest, entropy.to(log_probs.dtype), drawn)


def without_missing_sampled(teacher: Sampled) -> tuple[Sampled, Tensor]:
    """With weights of 0 where there is no teacher, and where there is one, `[...]` bool."""
    known = ~teacher.negentropy.isnan()
    wide = known.unsqueeze(-1)
    ids, probs = teacher.ids.masked_fill(~wide, 0), teacher.probs.masked_fill(~wide, 0.0)
    return Sampled(ids, probs, teacher.negentropy.masked_fill(~known, 0.0)), known


def tail_variance(log_probs: Tensor, most: int) -> Tensor:
    """`[most]`: the variance of the teacher's estimate with a head of 1, 2, ... and one independent draw, mean over N.

    It is that of the forward KL's gradient with respect to the logits, summed over classes:
    `rest^2 - sum_(k in the tail) p_k^2`. With m draws it is an m-th, and less if they are systematic.

    Args:
        log_probs: `[N, K]`, normalised; most: less than K.
    """
    probs = log_probs.double().exp().sort(dim=-1, descending=True).values
    rest = (1 - probs[:, :most].cumsum(-1)).clamp_min(0.0)
    squares = probs.square()
    tail = squares.sum(-1, keepdim=True) - squares[:, :most].cumsum(-1)
    return (rest.square() - tail).clamp_min(0.0).mean(0)


def choose_head(log_probs: Tensor, spent: dict[int, int]) -> int:
    """The k with the smallest variance, where a head of k leaves room for `spent[k]` draws.

    Args:
        log_probs: `[N, K]` of some tokens; spent: 1 draw or more for each k.

    Raises:
        ValueError: if there is nothing to choose from.
    """
    if not spent:
        raise ValueError("no head to choose from")
    variance = tail_variance(log_probs, max(spent))
    return min(spent, key=lambda k: float(variance[k - 1]) / spent[k])


class Error(NamedTuple):
    """How far an estimate of the forward KL's gradient is from the whole one's, by its Euclidean norm a token."""

    bias: float  #: of the mean over draws, mean over tokens
    chance: float  #: the bias that so many draws would show if there were none
    deviation: float  #: the standard deviation of a single estimate


def gradient_error(log_probs: Tensor, estimates: Iterable[Tensor]) -> Error:
    """Of estimates `[N, K]` of the distributions `[N, K]` whose logarithms are given.

    The gradient with respect to the student's logits is `p_S - p_T`, so that the student makes no difference.
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


def dense(teacher: Sampled, classes: int) -> Tensor:
    """`[N, K]`: the estimate written out."""
    found = teacher.probs.new_zeros(len(teacher.probs), classes)
    return found.scatter_add_(-1, teacher.ids, teacher.probs)
