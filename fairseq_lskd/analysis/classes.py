"""Mean class distributions (Shen et al., ICLR 2021, Fig. 4), and relations between classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .sums import ClassSums


@dataclass(frozen=True)
class Profiles:
    """Statistics of the mean distribution of each class."""

    peak: Tensor  #: [K] float64, probability of the class itself
    entropy: Tensor  #: [K] float64, nats
    rival: Tensor  #: [K] int64, the most probable other class of all V
    rival_share: Tensor  #: [K] float64, probability of the rival


def profiles(sums: ClassSums, rows: int = 256) -> Profiles:
    """Return peak, entropy and strongest rival of each class.

    Args:
        sums: sums of K classes with whole distributions.
        rows: number of classes to process at a time.
    """
    parts = []
    for start in range(0, len(sums.types), rows):
        own = sums.types[start : start + rows, None]
        means = sums.means(slice(start, start + rows)).cpu()
        share, rival = means.scatter(1, own, -1.0).max(1)
        parts.append((means.gather(1, own).squeeze(1), torch.special.entr(means).sum(1), rival, share))
    return Profiles(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def relation(sums: ClassSums) -> Tensor:
    """Return `[K, K]` float64: row a, column b is the mean probability of class b at examples of class a."""
    return (sums.sums[:, sums.types.to(sums.sums.device)] / sums.counts[:, None]).cpu()


def ranks(values: Tensor) -> Tensor:
    """Return the ranks of `[K]` values, `[K]` float64 from 1; ties have their mean rank."""
    _, place, count = values.unique(return_inverse=True, return_counts=True)
    last = count.cumsum(0)
    return (last - (count - 1) / 2).double()[place]


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return Spearman's rank correlation of `[K]` values, []; NaN if all values of either side are equal."""
    x, y = (rank - rank.mean() for rank in (ranks(a), ranks(b)))
    return (x * y).sum() / (x.square().sum() * y.square().sum()).sqrt()


def rank_correlations(a: Tensor, b: Tensor) -> Tensor:
    """Return Spearman's rank correlation between two models of each class's relations to the other classes.

    Args:
        a: `[K, K]`, relations of one model; the diagonal is left out.
        b: `[K, K]`, relations of the other.

    Returns:
        `[K]` float64; NaN if all relations of a class are equal, or K < 3.
    """
    size = len(a)
    off = ~torch.eye(size, dtype=torch.bool)
    found = torch.full((size,), torch.nan, dtype=torch.float64)
    for i in range(size if size > 2 else 0):
        found[i] = rank_correlation(a[i][off[i]], b[i][off[i]])
    return found


def confusion(relations: list[Tensor]) -> Tensor:
    """Return the mutual confusion of classes, `[K, K]`: the mean over directions and models; 0 on the diagonal."""
    mean = torch.stack(relations).mean(0)
    return ((mean + mean.T) / 2).fill_diagonal_(0)


def cosines(weights: list[Tensor]) -> Tensor:
    """Return the cosines of the classes' output embeddings, `[K, K]`, the mean over models; 0 on the diagonal.

    Args:
        weights: rows of the output matrix of each model, `[K, D]`.
    """
    units = [torch.nn.functional.normalize(weight.double(), dim=1) for weight in weights]
    return torch.stack([unit @ unit.T for unit in units]).mean(0).fill_diagonal_(0)


@dataclass(frozen=True)
class Pairs:
    """A similar and a dissimilar class for each of K classes, as rows of the similarity matrix."""

    similar: Tensor  #: [K] int64
    dissimilar: Tensor  #: [K] int64


def pair_up(similarity: Tensor, seed: int = 1) -> Pairs:
    """Return the most similar class of each class, and one drawn from the half of all classes least similar to it.

    Args:
        similarity: `[K, K]`, symmetric, K > 2.
    """
    size = len(similarity)
    own = torch.eye(size, dtype=torch.bool)
    similar = similarity.masked_fill(own, -torch.inf).argmax(1)
    least = similarity.masked_fill(own, torch.inf).argsort(dim=1, stable=True)[:, : max(1, (size - 1) // 2)]
    random = torch.Generator().manual_seed(seed)
    chosen = torch.randint(0, least.size(1), (size, 1), generator=random)
    return Pairs(similar, least.gather(1, chosen).squeeze(1))


def separation(centres: Tensor, spreads: Tensor, partner: Tensor) -> Tensor:
    """Return the separation of each class from its partner: `|m_a - m_b| / (s_a + s_b)`, `[K]` float64, no unit.

    Args:
        centres: `[K, D]`, centre m of each class.
        spreads: `[K]`, root mean square distance s of the class from its centre.
        partner: `[K]`, class b for each class a.
    """
    return (centres - centres[partner]).norm(dim=1) / (spreads + spreads[partner])
