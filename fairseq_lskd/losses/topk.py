"""A teacher known by its k most probable classes: cached, or restricted to them on purpose."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: What is done with the mass that the top k leave over.
RESTS = ("class", "renormalise")


class TopK(NamedTuple):
    """The k most probable classes at each token, and the mass of all others."""

    ids: Tensor  #: [..., k] int64, the most probable class first
    log_probs: Tensor  #: [..., k] float32, nats
    rest: Tensor  #: [...] float32, log of the left-over mass; NaN where there is no teacher

    def rows(self, rows: slice | Tensor) -> TopK:
        """Some of the tokens."""
        return TopK(*(member[rows] for member in self))

    def first(self, k: int) -> TopK:
        """Only the k most probable of these classes; the others are left over too."""
        rest = torch.cat([self.log_probs[..., k:], self.rest.unsqueeze(-1)], -1).logsumexp(-1)
        return TopK(self.ids[..., :k], self.log_probs[..., :k], rest)

    def scatter(self, mask: Tensor) -> TopK:
        """Of the N tokens in a mask `[B, T]`: `[B, T, k]`, with nothing known of the others."""
        found = TopK(*(member.new_zeros(*mask.shape, *member.shape[1:]) for member in self))
        found.rest.fill_(torch.nan)
        for whole, part in zip(found, self, strict=True):
            whole[mask] = part
        return found


def top_k(log_probs: Tensor, k: int) -> TopK:
    """The `TopK` of normalised `[..., K]` log-probabilities.

    Raises:
        ValueError: unless 1 <= k <= K.
    """
    if not 1 <= k <= log_probs.size(-1):
        raise ValueError(f"k is {k}, expected 1 to {log_probs.size(-1)}, the number of classes")
    values, ids = log_probs.topk(k, dim=-1)
    # Summed, not 1 - sum of the k, which would cancel where the k have nearly all of the mass.
    rest = log_probs.scatter(-1, ids, -torch.inf).logsumexp(-1)
    # NaN would say that there is no teacher here: one that is broken is to be noticed, in the loss.
    return TopK(ids, values, rest.masked_fill_(rest.isnan(), torch.inf))


def without_missing(teacher: TopK) -> tuple[TopK, Tensor]:
    """A `TopK` of valid distributions everywhere, and where it really is the teacher's, `[...]` bool."""
    known = ~teacher.rest.isnan()
    anything = torch.arange(teacher.ids.size(-1), device=known.device)  # distinct, as the classes of a top k are
    ids = torch.where(known.unsqueeze(-1), teacher.ids, anything)
    log_probs = teacher.log_probs.masked_fill(~known.unsqueeze(-1), 0.0)
    return TopK(ids, log_probs, teacher.rest.masked_fill(~known, 0.0)), known


def teacher_classes(teacher: TopK, rest: str = "class") -> Tensor:
    """`[..., k + 1]` log-probabilities of the k classes and of all others taken as one.

    With `rest="class"` the last has the left-over mass. A divergence of such coarsened distributions is
    at most that of the whole ones (data processing inequality; Cover & Thomas, 2006, section 2.8), 0 at
    equality. With `rest="renormalise"` the k classes get all of the mass, the rest none.
    """
    if rest == "class":
        return torch.cat([teacher.log_probs, teacher.rest.unsqueeze(-1)], -1)
    kept = teacher.log_probs.log_softmax(-1)
    return torch.cat([kept, torch.full_like(kept[..., :1], -torch.inf)], -1)


def student_classes(log_probs: Tensor, ids: Tensor) -> Tensor:
    """`[..., k + 1]`: the student's `[..., K]` log-probabilities of the classes `ids` and of all others as one."""
    # Not -inf: where the k classes are all classes, the derivative of logsumexp would be NaN.
    others = log_probs.scatter(-1, ids, torch.finfo(log_probs.dtype).min).logsumexp(-1, keepdim=True)
    return torch.cat([log_probs.gather(-1, ids), others], -1)
