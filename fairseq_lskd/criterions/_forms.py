"""The loss of a batch in two forms: fused, without [tokens x vocabulary] tensors, and plain, on whole tensors."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..losses import (
    Projection,
    TokenLosses,
    fused_loss,
    negative_log_likelihood,
    smoothed_cross_entropy,
    smoothing_term,
    teacher_loss,
)
from ..models import log_probs, project, unwrapped
from ._batch import Batch, Parts

#: Tokens per chunk when validation computes the student's distributions.
PREDICTION_ROWS = 256
#: Chunks of n tokens: the student's log-probabilities `[n, K]`, targets `[n]`, and a mask of tokens to ignore `[n]`.
Distributions = Iterator[tuple[Tensor, Tensor, Tensor]]


class Terms(NamedTuple):
    """The loss of a batch and its terms, in nats."""

    loss: Tensor  #: [], or one value per target token without `reduce`
    kd: Tensor | None  #: the teacher's term times the sentence weights; of any shape, to be summed
    nll: Tensor  #: negative log-likelihood of the labels, without sentence weights; of any shape, to be summed
    distributions: Distributions
    hidden: Tensor | None = None  #: [], the distance of hidden states times the sentence weights
    guess: Tensor | None = None  #: [N] int64, the student's most probable classes, with `Batch.guess`


def compute(form: Fused | Plain, model: Any, batch: Batch) -> Terms:
    """Compute the loss of a batch in one of the two forms. Each iteration of TIE-KD is a step with `TokenLosses`."""
    student: Any = form.predict(model, batch)
    if batch.select is not None:
        chosen = batch.select(functools.partial(form.nll, student, batch))
        batch = replace(batch, teacher_mask=chosen if batch.teacher_mask is None else chosen & batch.teacher_mask)
    steps, current = [form.step(student, batch, guess=batch.guess or batch.iterations > 1)], batch
    distances = [_hidden_distance(form, student, batch)]
    while len(steps) < batch.iterations:
        current = current.fed_back(steps[-1].guess)
        again: Any = form.predict(model, current)
        steps.append(form.step(again, current, guess=len(steps) + 1 < batch.iterations))
        distances.append(_hidden_distance(form, again, current))
    loss, kd = form.total(steps, batch)
    hidden = None
    if batch.hidden is not None:
        values = torch.stack([each for each in distances if each is not None]).mean(0) * batch.teacher_token_weights
        loss, hidden = form.plus(loss, batch.hidden.weight * values, batch), values.detach().sum()
    guess = steps[0].guess if batch.guess else None
    return Terms(loss, kd, steps[0].nll, form.distributions(student, batch), hidden, guess)


def _hidden_distance(form: Fused | Plain, student: Any, batch: Batch) -> Tensor | None:
    """Return the distance between the student's and the teacher's hidden states, `[N]`; None without --kd-hidden."""
    if batch.hidden is None or batch.teacher is None:
        return None
    teacher = batch.teacher.projected(batch)
    assert isinstance(teacher, list)  # --kd-hidden needs an online teacher
    return batch.hidden(form.states(student, batch), teacher[0].hidden)


class Fused:
    """The fused form: hidden states times output matrices, in chunks, without a `[tokens, vocabulary]` tensor."""

    def predict(self, model: Any, batch: Batch) -> Projection:
        return project(model, batch.net_input, batch.indices)

    @torch.no_grad()
    def nll(self, student: Projection, batch: Batch) -> Tensor:
        return fused_loss(student, batch.labels, batch.token_weights).nll

    def step(self, student: Projection, batch: Batch, guess: bool) -> TokenLosses:
        weights = batch.token_weights * batch.label_weight
        taught = batch.teacher_weight / batch.iterations * batch.teacher_token_weights

        def of(rows: Tensor | slice, teacher: Any) -> TokenLosses:
            return fused_loss(
                student.rows(rows),
                batch.labels[rows],
                weights[rows],
                label_smoothing=batch.label_smoothing,
                prior=batch.prior,
                teacher=teacher,
                teacher_weight=taught[rows],
                # On a GPU, finding rows to skip waits for it, which pays off only with a teacher_mask.
                skip=batch.teacher_mask is not None or not batch.target.is_cuda,
                objective=batch.objective,
                guess=guess,
            )

        teacher = None if batch.teacher is None else batch.teacher.projected(batch)
        if not isinstance(teacher, Parts):
            return of(slice(None), teacher)
        alone = torch.ones_like(batch.labels, dtype=torch.bool)
        for rows, _ in teacher.parts:
            alone[rows] = False
        parts = [*teacher.parts, (alone.nonzero().squeeze(1), None)]
        return _joined([(rows, of(rows, one)) for rows, one in parts], batch.labels)

    def total(self, steps: list[TokenLosses], batch: Batch) -> tuple[Tensor, Tensor | None]:
        loss = torch.stack([step.loss for step in steps]).sum()
        if batch.teacher is None:
            return loss, None
        return loss, torch.stack([step.teacher for step in steps]).mean(0) * batch.teacher_token_weights

    def states(self, student: Projection, batch: Batch) -> Tensor:
        """Return the student's hidden states at the tokens of the mask, `[N, D]`."""
        return student.hidden

    def plus(self, loss: Tensor, values: Tensor, batch: Batch) -> Tensor:
        """Add values of the mask's tokens, `[N]`, to the loss."""
        return loss + values.sum()

    def distributions(self, student: Projection, batch: Batch) -> Distributions:
        rows = torch.arange(len(batch.labels), device=batch.labels.device).split(PREDICTION_ROWS)
        for some in rows:
            hidden, weight, bias = student.rows(some)
            labels = batch.labels[some]
            scores = F.log_softmax(F.linear(hidden, weight, bias), dim=-1, dtype=torch.float32)
            yield scores, labels, torch.zeros_like(labels, dtype=torch.bool)


def _joined(parts: list[tuple[Tensor, TokenLosses]], labels: Tensor) -> TokenLosses:
    """Put the losses of parts of the tokens together. `labels` tells the number of tokens."""
    nll = torch.zeros_like(labels, dtype=parts[0][1].nll.dtype)
    teacher = torch.zeros_like(nll)
    guess = torch.zeros_like(labels) if any(len(part.guess) for _, part in parts) else labels[:0]
    for rows, part in parts:
        nll[rows], teacher[rows] = part.nll, part.teacher
        if len(guess):
            guess[rows] = part.guess
    return TokenLosses(torch.stack([part.loss for _, part in parts]).sum(), nll, teacher, guess)


class Plain:
    """The plain form, on whole tensors `[B, T', K]`. With `reduce`, the label's term is fairseq's to the last bit."""

    def __init__(self, reduce: bool = True):
        self.reduce = reduce
        self._states: Tensor | None = None  #: the last input of the output projection, [B, T, D]

    def predict(self, model: Any, batch: Batch) -> Tensor:
        def keep(module: Any, given: tuple[Tensor, ...]) -> None:
            self._states = given[0]

        hook = None
        if batch.hidden is not None:
            hook = unwrapped(model).decoder.output_projection.register_forward_pre_hook(keep)
        try:
            return log_probs(model, batch.net_input)[:, batch.prefix :]  # a view that keeps the batch's shape
        finally:
            if hook is not None:
                hook.remove()

    def states(self, student: Tensor, batch: Batch) -> Tensor:
        """Return the hidden states of the last prediction; see `Fused.states`."""
        assert self._states is not None
        return self._states.flatten(0, 1)[batch.indices]

    def plus(self, loss: Tensor, values: Tensor, batch: Batch) -> Tensor:
        if self.reduce:
            return loss + values.sum()
        mask = batch.mask[:, batch.prefix :]
        return loss + torch.zeros_like(mask, dtype=values.dtype).masked_scatter(mask, values).flatten()

    def nll(self, student: Tensor, batch: Batch) -> Tensor:
        target, mask = batch.target[:, batch.prefix :], batch.mask[:, batch.prefix :]
        return negative_log_likelihood(student.detach(), target, ~mask)[mask]

    def step(self, student: Tensor, batch: Batch, guess: bool) -> TokenLosses:
        target, mask = batch.target[:, batch.prefix :], batch.mask[:, batch.prefix :]
        nll = negative_log_likelihood(student, target, ~mask)
        labels, alpha, prior = self._labels(nll, batch), batch.label_smoothing, batch.prior
        if alpha > 0:
            smooth = self._labels(smoothing_term(student, ~mask, prior), batch)
            labels = smoothed_cross_entropy(labels, smooth, alpha, student.size(-1), prior is None)
        best = student.argmax(-1)[mask] if guess else target[:0]
        if batch.teacher is None:
            return TokenLosses(labels, nll, torch.zeros_like(nll), best)
        if batch.teacher_mask is not None:
            mask = torch.zeros_like(mask).masked_scatter(mask, batch.teacher_mask)
        teacher = batch.teacher.whole(batch)
        if isinstance(teacher, Parts):
            return TokenLosses(labels, nll, self._teacher_parts(student, teacher, mask, batch), best)
        return TokenLosses(labels, nll, teacher_loss(student, teacher, ~mask, batch.objective), best)

    def _teacher_parts(self, student: Tensor, teacher: Parts, taught: Tensor, batch: Batch) -> Tensor:
        """Return the teacher's term where `taught`, `[B, T']`, from predictions for parts of the tokens."""
        mask = batch.mask[:, batch.prefix :]
        ours, ignore = student[mask], ~taught[mask]
        found = ours.new_zeros(len(ours))
        for rows, predictions in teacher.parts:
            found = found.index_copy(0, rows, teacher_loss(ours[rows], predictions, ignore[rows], batch.objective))
        return torch.zeros_like(mask, dtype=found.dtype).masked_scatter(mask, found)

    def total(self, steps: list[TokenLosses], batch: Batch) -> tuple[Tensor, Tensor | None]:
        labels = steps[0].loss if isinstance(batch.label_weight, Tensor) else batch.label_weight * steps[0].loss
        if batch.teacher is None:
            return labels, None
        kd = self._sum(torch.stack([step.teacher for step in steps]).sum(0) / batch.iterations, batch)
        return labels + batch.teacher_weight * kd, kd

    def distributions(self, student: Tensor, batch: Batch) -> Distributions:
        target, mask = batch.target[:, batch.prefix :], batch.mask[:, batch.prefix :]
        yield student.detach().flatten(0, 1), target.flatten(), ~mask.flatten()

    def _labels(self, values: Tensor, batch: Batch) -> Tensor:
        """Sum values of the label's term, times the label weight where that differs between tokens."""
        if isinstance(batch.label_weight, Tensor):
            mask = batch.mask[:, batch.prefix :]
            values = values * torch.zeros_like(mask, dtype=torch.float32).masked_scatter(mask, batch.label_weight)
        return self._sum(values, batch)

    def _sum(self, values: Tensor, batch: Batch) -> Tensor:
        values = values if batch.sentence_weights is None else values * batch.sentence_weights
        return values.sum() if self.reduce else values.reshape(-1)
