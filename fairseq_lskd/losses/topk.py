"""A teacher of which only the k most probable classes are known: from a cache, or with --kd-top-k."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: The choices for the probability outside of the top k; see `teacher_classes`.
RESTS = ("class", "renormalise")


class TopK(NamedTuple):
    """The k most probable classes at each token, and the probability of all others together."""

    ids: Tensor  #: [..., k] int64, the most probable class first
    log_probs: Tensor  #: [..., k] float32, nats
    rest: Tensor  #: [...] float32, log-probability of all other classes; NaN at tokens without a teacher

    def rows(self, rows: slice | Tensor) -> TopK:
        """Select tokens."""
        return TopK(*(member[rows] for member in self))

    def first(self, k: int) -> TopK:
        """Keep the first k classes, and add the probabilities of the others to `rest`."""
        rest = torch.cat([self.log_probs[..., k:], self.rest.unsqueeze(-1)], -1).logsumexp(-1)
        return TopK(self.ids[..., :k], self.log_probs[..., :k], rest)

    def scatter(self, mask: Tensor) -> TopK:
        """Put the N tokens of a mask `[B, T]` at their places, `[B, T, k]`; all other tokens have no teacher."""
        found = TopK(*(member.new_zeros(*mask.shape, *member.shape[1:]) for member in self))
        found.rest.fill_(torch.nan)
        for whole, part in zip(found, self, strict=True):
            whole[mask] = part
        return found


def top_k(log_probs: Tensor, k: int) -> TopK:
    """Return the `TopK` of normalised log-probabilities `[..., K]`.

    Raises:
        ValueError: unless 1 <= k <= K.
    """
    if not 1 <= k <= log_probs.size(-1):
        raise ValueError(f"k is {k}, expected 1 to {log_probs.size(-1)}, the number of classes")
    values, ids = log_probs.topk(k, dim=-1)
    # A sum over the other classes, because 1 - sum of the k loses precision if the k have nearly all probability.
    rest = log_probs.scatter(-1, ids, -torch.inf).logsumexp(-1)
    # NaN would mean that there is no teacher. With inf, a broken teacher shows in the loss.
    return TopK(ids, values, rest.masked_fill_(rest.isnan(), torch.inf))


def without_missing(teacher: TopK) -> tuple[TopK, Tensor]:
    """Put a valid distribution at tokens without a teacher. Also return the mask `[...]` of tokens with a teacher."""
    known = ~teacher.rest.isnan()
    distinct = torch.arange(teacher.ids.size(-1), device=known.device)
    ids = torch.where(known.unsqueeze(-1), teacher.ids, distinct)
    log_probs = teacher.log_probs.masked_fill(~known.unsqueeze(-1), 0.0)
    return TopK(ids, log_probs, teacher.rest.masked_fill(~known, 0.0)), known


def teacher_classes(teacher: TopK, rest: str = "class") -> Tensor:
    """Return the log-probabilities of the k classes and of all others as one more class, `[..., k + 1]`.

    With `rest="class"` the last class has the remaining probability. A divergence between distributions that are merged
    in this way is at most that between the full distributions (data processing inequality; Cover & Thomas 2006, section
    2.8), and 0 at equality. With `rest="renormalise"` the k classes share all of the probability and the last has none.
    """
    if rest == "class":
        return torch.cat([teacher.log_probs, teacher.rest.unsqueeze(-1)], -1)
    kept = teacher.log_probs.log_softmax(-1)
    return torch.cat([kept, torch.full_like(kept[..., :1], -torch.inf)], -1)


def student_classes(log_probs: Tensor, ids: Tensor) -> Tensor:
    """Return the student's log-probabilities of the classes `ids` and of all others as one class, `[..., k + 1]`."""
    # Not -inf: if the k classes are all classes, the derivative of logsumexp would be NaN.
    others = log_probs.scatter(-1, ids, torch.finfo(log_probs.dtype).min).logsumexp(-1, keepdim=True)
    return torch.cat([log_probs.gather(-1, ids), others], -1)
