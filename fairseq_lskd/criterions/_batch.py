"""A batch as the loss sees it: one description, made once, of which both forms of the loss are functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ..losses import HiddenTerm, Objective, Projection, Sampled, TopK
from ..models import mask_indices


class BatchTeacher(Protocol):
    """What a teacher predicts for a batch. A new kind of teacher is a class with these two methods."""

    def projected(self, batch: Batch) -> list[Projection] | TopK | Sampled | None:
        """For the N tokens of the mask: each member's hidden states and output matrix, the k best classes, or draws."""

    def whole(self, batch: Batch) -> Tensor | TopK | Sampled:
        """The same for the batch without its prefix, `[B, T', K]` or `[B, T', k]`, at the objective's temperature."""


@dataclass(frozen=True)
class Batch:
    """The loss of a batch is the sum over its tokens n of

        w_n [a H_smoothed(p_S, y)_n + b m_n T^2 D(p_T, p_S)_n]

    with `w` sentence_weights, `a` label_weight, `b` teacher_weight and `m` teacher_mask; the teacher's part is the mean
    over the iterations. With `hidden`, `w_n m_n` times its weight and its distance of hidden states is added. B
    sentences have T target tokens, padding included; N tokens are in the mask; T' is T without the prefix.
    """

    net_input: dict[str, Any]  #: fairseq's, target side included
    target: Tensor  #: [B, T] int64
    mask: Tensor  #: [B, T] bool, true at the tokens that have a loss
    padding: int
    prefix: int  #: columns at the beginning that the mask leaves out
    ntokens: int  #: as fairseq counts them, the prefix included
    sample_size: Any  #: denominator of the gradient
    label_smoothing: float = 0.0
    prior: Tensor | None = None  #: [K], or None for the uniform one
    sentence_weights: Tensor | None = None  #: [B, 1] float32; None is 1 everywhere
    label_weight: float = 1.0  #: 0 if the student wrote the targets (on-policy)
    teacher: BatchTeacher | None = None
    teacher_weight: float = 0.0
    teacher_mask: Tensor | None = None  #: [N] bool, true where the teacher's part counts; None is everywhere
    #: Makes the teacher_mask; given what computes the labels' cross-entropies, `[N]`.
    select: Callable[[Callable[[], Tensor]], Tensor] | None = None
    objective: Objective = field(default_factory=Objective)
    hidden: HiddenTerm | None = None  #: only with a teacher whose states are known
    iterations: int = 1
    on_policy: bool | None = None  #: whether the student wrote the targets; None where it never does

    @functools.cached_property
    def indices(self) -> Tensor:
        """`[N]` int64: where the tokens of the mask are in the flattened batch."""
        # fairseq's collater has counted them on the CPU.
        return mask_indices(self.mask, self.ntokens if self.prefix == 0 else None)

    @functools.cached_property
    def labels(self) -> Tensor:
        """`[N]` int64: the targets in the mask."""
        return self.target.flatten()[self.indices]

    @functools.cached_property
    def sentences(self) -> Tensor:
        """`[N]` int64: which of the B sentences each token of the mask is in."""
        return torch.div(self.indices, self.target.size(1), rounding_mode="floor")

    @functools.cached_property
    def token_weights(self) -> Tensor:
        """`[N]` float32: the sentence's weight of each token in the mask."""
        if self.sentence_weights is None:
            return torch.ones_like(self.indices, dtype=torch.float32)
        return self.sentence_weights.expand_as(self.mask).flatten()[self.indices]

    @property
    def teacher_token_weights(self) -> Tensor:
        """`[N]` float32: likewise of the teacher's part, 0 outside of the teacher_mask."""
        return self.token_weights if self.teacher_mask is None else self.token_weights * self.teacher_mask

    def fed_back(self, guess: Tensor) -> Batch:
        """The next of TIE-KD's iterations: the decoder reads the student's guesses, `[N]`, in place of the labels."""
        given = self.net_input["prev_output_tokens"]
        own = torch.zeros_like(given).flatten().index_copy(0, self.indices, guess).view_as(given)
        fed = given.clone()
        replaced = self.mask[:, :-1] & given[:, 1:].ne(self.padding)
        fed[:, 1:] = torch.where(replaced, own[:, :-1], given[:, 1:])
        net_input = {**self.net_input, "prev_output_tokens": fed}
        return replace(self, net_input=net_input, label_weight=0.0, label_smoothing=0.0, prior=None)
