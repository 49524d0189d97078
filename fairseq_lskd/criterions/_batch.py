"""The description of a batch from which the fused and the plain form compute the loss."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ..losses import HiddenTerm, Objective, Projection, Sampled, TopK
from ..models import mask_indices


@dataclass(frozen=True)
class Parts:
    """The predictions of several teachers, each for some of the N tokens of the mask; other tokens have no teacher."""

    #: (tokens `[n]` int64, predictions for them: what a `BatchTeacher` returns, or log-probabilities `[n, K]`)
    parts: Sequence[tuple[Tensor, Any]]


class BatchTeacher(Protocol):
    """A teacher's predictions for a batch. To add a kind of teacher, write a class with these two methods."""

    def projected(self, batch: Batch) -> list[Projection] | TopK | Sampled | Parts | None:
        """Return the predictions for the N tokens of the mask, as the fused loss takes them; None if it cannot."""

    def whole(self, batch: Batch) -> Tensor | TopK | Sampled | Parts:
        """Return the predictions without the prefix, `[B, T', K]` or `[B, T', k]`, at the objective's temperature."""


@dataclass(frozen=True)
class Batch:
    """A batch and all that its loss depends on. The loss is the sum over the tokens n of

        w_n [a_n H_smoothed(p_S, y)_n + b m_n T^2 D(p_T, p_S)_n]

    with `w` sentence_weights, `a` label_weight, `b` teacher_weight and `m` teacher_mask. The teacher's term is the mean
    over the iterations. `hidden` adds `w_n m_n` times its weight times the distance of the hidden states. B
    sentences have T target tokens, padding included; N tokens are in the mask; T' is T without the prefix.
    """

    net_input: dict[str, Any]  #: fairseq's, target side included
    target: Tensor  #: [B, T] int64
    mask: Tensor  #: [B, T] bool, true at the tokens that have a loss
    padding: int
    prefix: int  #: number of target tokens at the beginning that the mask leaves out
    ntokens: int  #: fairseq's count of target tokens, prefix included
    sample_size: Any  #: denominator of the gradient
    label_smoothing: float = 0.0
    prior: Tensor | None = None  #: [K] smoothing prior; None is uniform
    sentence_weights: Tensor | None = None  #: [B, 1] float32; None is 1 everywhere
    #: 0 if the targets are the student's own translations (on-policy); `[N]` float32 if it differs between tokens.
    label_weight: float | Tensor = 1.0
    teacher: BatchTeacher | None = None
    teacher_weight: float = 0.0
    teacher_mask: Tensor | None = None  #: [N] bool, true at tokens that have the teacher's term; None is everywhere
    #: Computes the teacher_mask from a function that returns the labels' cross-entropies, `[N]`.
    select: Callable[[Callable[[], Tensor]], Tensor] | None = None
    objective: Objective = field(default_factory=Objective)
    hidden: HiddenTerm | None = None  #: needs an online teacher
    iterations: int = 1
    guess: bool = False  #: whether to return the student's most probable classes
    on_policy: bool | None = None  #: whether the targets are the student's translations; None without --kd-on-policy

    @functools.cached_property
    def indices(self) -> Tensor:
        """`[N]` int64: the positions of the mask's tokens in the flattened batch."""
        # fairseq's collater has counted the tokens on the CPU, so the GPU need not be waited for.
        return mask_indices(self.mask, self.ntokens if self.prefix == 0 else None)

    @functools.cached_property
    def labels(self) -> Tensor:
        """`[N]` int64: the targets in the mask."""
        return self.target.flatten()[self.indices]

    @functools.cached_property
    def sentences(self) -> Tensor:
        """`[N]` int64: the row in the batch of each token of the mask."""
        return torch.div(self.indices, self.target.size(1), rounding_mode="floor")

    @functools.cached_property
    def token_weights(self) -> Tensor:
        """`[N]` float32: the sentence weight of each token of the mask."""
        if self.sentence_weights is None:
            return torch.ones_like(self.indices, dtype=torch.float32)
        return self.sentence_weights.expand_as(self.mask).flatten()[self.indices]

    @property
    def teacher_token_weights(self) -> Tensor:
        """`[N]` float32: `token_weights` for the teacher's term, 0 outside of the teacher_mask."""
        return self.token_weights if self.teacher_mask is None else self.token_weights * self.teacher_mask

    def fed_back(self, guess: Tensor) -> Batch:
        """Return the batch of TIE-KD's next iteration: the decoder reads `guess`, `[N]`, in place of the labels."""
        given = self.net_input["prev_output_tokens"]
        own = torch.zeros_like(given).flatten().index_copy(0, self.indices, guess).view_as(given)
        fed = given.clone()
        replaced = self.mask[:, :-1] & given[:, 1:].ne(self.padding)
        fed[:, 1:] = torch.where(replaced, own[:, :-1], given[:, 1:])
        net_input = {**self.net_input, "prev_output_tokens": fed}
        return replace(self, net_input=net_input, label_weight=0.0, label_smoothing=0.0, prior=None)
