"""The fused form of the losses: projection, loss and gradient in chunks of tokens, without whole logits.

The forward pass computes the gradient of a chunk together with its loss, while the logits are in memory. The backward
pass only scales the sums. Liger-Kernel fuses the output projection with the cross-entropy in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import projection
from .divergence import WIDE, forward_kl
from .objective import Objective, check_sampled
from .projection import Projection, of_one_dtype, product, project, project_into, project_wide
from .ranking import ranking_loss
from .sampled import Sampled, without_missing_sampled
from .smoothing import smoothed_cross_entropy
from .topk import TopK, teacher_classes, top_k, without_missing

#: Minimum and maximum size of a buffer of a chunk, in bytes. Small chunks waste time, large ones leave a CPU's cache.
CHUNK_BYTES = {"cpu": (2**23, 2**25), "cuda": (2**25, 2**40)}
#: Batches with fewer tokens have chunks as large as a batch of this size, because every chunk reads the matrices.
SMALL_BATCH = 2048
#: Maximum size of all buffers of a chunk, in units of `[tokens, vocabulary]`.
SHARE = 0.245
#: Chunk sizes are multiples of this number, which suits matrix products.
ALIGNED = 16
#: Gradients in float16 are scaled to this maximum before products, and scaled back afterwards. None overflows, and few
#: underflow.
HALF_PEAK = 2.0**14
#: Rows of the output matrix that are multiplied at once in half precision, which needs float32 copies.
MIXED_ROWS = 2**13
#: All classes.
ALL = slice(None)


class TokenLosses(NamedTuple):
    """The loss of a batch, and its terms at each token. In the result of `fused_loss`, only `loss` has a gradient."""

    loss: Tensor  #: [], the weighted sum
    nll: Tensor  #: [N], -log p(target) in nats
    teacher: Tensor  #: [N], the teacher's term in nats, 0 at tokens that have none
    guess: Tensor  #: [N] int64, the student's most probable class; [0] without `guess`


def fused_loss(
    student: Projection,
    target: Tensor,
    label_weight: Tensor,
    *,
    label_smoothing: float = 0.0,
    prior: Tensor | None = None,
    teacher: Sequence[Projection] | TopK | Sampled | None = None,
    teacher_weight: Tensor | None = None,
    skip: bool = True,
    objective: Objective | None = None,
    guess: bool = False,
    chunk: int | None = None,
) -> TokenLosses:
    """Compute `sum_n label_weight_n H_smoothed(p_S, y)_n + teacher_weight_n T^2 [D(p_T^(T), p_S^(T)) + R]_n`.

    The result equals that of `smoothed_cross_entropy` and `teacher_loss` on whole tensors, up to the order of sums.
    Arithmetic is in float32, also for half-precision models, and in float64 if the hidden states are float64.

    Args:
        student: hidden states, output matrix and bias. Each may require a gradient.
        target: `[N]` int64, without padding.
        label_weight: `[N]` float32.
        label_smoothing: alpha, in [0, 1).
        prior: `[K]`, or None for the uniform prior.
        teacher: one `Projection` per member of an ensemble, of any width. Their distributions at the temperature are
            averaged by the objective's mixture. A member may have fewer classes: the last ones then have no
            probability. Or a `TopK` or `Sampled` at the temperature; or None.
        teacher_weight: `[N]` float32; None is 1 everywhere.
        skip: whether to find tokens with teacher_weight 0 first and leave out the teacher's projection for them. On a
            GPU, finding them waits for the device.
        objective: the teacher's term; None is the forward KL at temperature 1.
        guess: whether to return the student's most probable classes.
        chunk: tokens per chunk; None chooses a size that suits the device.

    Returns:
        `TokenLosses`. Backward can be called once, because it scales the gradients in place.
    """
    if isinstance(teacher, Sampled):
        check_sampled(objective or Objective())
    problem = _Problem(
        target, label_weight, label_smoothing, prior, teacher, teacher_weight, skip, objective or Objective(), guess
    )
    needs = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in student)
    return TokenLosses(*_FusedLoss.apply(*student, problem, chunk or _chunk_size(problem, student), needs))


class _Problem(NamedTuple):
    target: Tensor
    label_weight: Tensor
    label_smoothing: float
    prior: Tensor | None
    teacher: Sequence[Projection] | TopK | Sampled | None
    teacher_weight: Tensor | None
    skip: bool
    objective: Objective
    guess: bool


def _chunk_size(problem: _Problem, student: Projection) -> int:
    """Return the tokens per chunk, so that a chunk's buffers are less than a quarter of `[tokens, vocabulary]`."""
    classes = student.weight.size(0)
    if problem.teacher is None:
        buffers = 1.2
    elif isinstance(problem.teacher, TopK | Sampled):
        buffers = 2.2
    elif _is_plain_kl(problem):
        buffers = 2 + 2 * min(1, projection.BLOCK / classes)
    else:
        buffers = problem.objective.divergence.buffers * (1 if problem.objective.temperature <= WIDE else 2)
    row = 4 * classes
    least, most = CHUNK_BYTES["cuda" if student.hidden.is_cuda else "cpu"]
    tokens = student.hidden.size(0)
    most_tokens = max(ALIGNED, min(int(SHARE * max(tokens, SMALL_BATCH) / buffers), most // row), least // row)
    most_tokens -= most_tokens % ALIGNED
    # Chunks of nearly equal size, because a short chunk costs nearly as much as a long one.
    chunks = max(1, -(-tokens // most_tokens))
    return max(1, -(-tokens // (chunks * ALIGNED))) * ALIGNED


def _is_plain_kl(problem: _Problem) -> bool:
    """Whether the objective is the forward KL of one online teacher, which `_Work._plain_kl` computes."""
    objective, teacher = problem.objective, problem.teacher
    plain = objective.divergence is forward_kl and objective.top_k is None and not objective.ranking
    return (
        plain and objective.temperature <= WIDE and not isinstance(teacher, TopK | Sampled) and len(teacher or ()) == 1
    )


class _FusedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, problem: _Problem, chunk: int, needs: bool
    ) -> tuple[Tensor, ...]:
        with torch.autocast(hidden.device.type, enabled=False):
            work = _Work(Projection(hidden, weight, bias), problem, chunk, ctx.needs_input_grad[:3] if needs else ())
            for rows, taught in _chunks(problem, hidden.size(0), chunk):
                work.add(rows, taught)
        ctx.gradients = work.gradients
        ctx.dtypes = [None if tensor is None else tensor.dtype for tensor in (hidden, weight, bias)]
        ctx.mark_non_differentiable(work.nll, work.teacher, work.guess)
        loss = (work.labels * problem.label_weight).sum()
        if problem.teacher is not None:
            weighted = work.teacher if problem.teacher_weight is None else work.teacher * problem.teacher_weight
            loss = loss + weighted.sum()
        return loss, work.nll, work.teacher, work.guess

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("backward of fused_loss was called twice; call fused_loss again for each backward")
        # Scaled before the cast, because without fairseq's loss scale a float16 gradient would underflow.
        found = [
            None if sums is None else sums.mul_(grad).to(dtype)
            for sums, dtype in zip(ctx.gradients, ctx.dtypes, strict=True)
        ]
        ctx.gradients = None
        return *found, None, None, None


def _chunks(problem: _Problem, tokens: int, size: int) -> Iterator[tuple[slice | Tensor, bool]]:
    """Yield chunks as (tokens, whether they have the teacher's term); with `skip`, a chunk has no others."""
    slices = (slice(start, min(start + size, tokens)) for start in range(0, tokens, size))  # they make no copies
    if problem.teacher is None or problem.teacher_weight is None or not problem.skip:
        yield from ((rows, problem.teacher is not None) for rows in slices)
        return
    for taught in (True, False):
        chosen = (problem.teacher_weight != 0).eq(taught).nonzero().squeeze(1)
        if chosen.numel() == tokens:
            yield from ((rows, taught) for rows in slices)
            return
        yield from ((rows, taught) for rows in chosen.split(size) if rows.numel())


class _Work:
    """The sums over the chunks so far, and the buffers that the chunks share.

    In comments, n is the number of tokens in a chunk and K the size of the vocabulary. s is the student's logits / T.
    """

    def __init__(self, student: Projection, problem: _Problem, chunk: int, needs: Sequence[bool]):
        self.student, self.problem = of_one_dtype(student), problem
        self.is_plain_kl = _is_plain_kl(problem)
        self.members = (
            [] if isinstance(problem.teacher, TopK | Sampled) else [of_one_dtype(m) for m in problem.teacher or ()]
        )
        tokens = student.hidden.size(0)
        self.dtype = torch.float64 if student.hidden.dtype == torch.float64 else torch.float32
        kind: dict[str, Any] = {"device": student.hidden.device, "dtype": self.dtype}
        self.nll, self.labels, self.teacher = (torch.zeros(tokens, **kind) for _ in range(3))
        self.guess = torch.empty_like(problem.target if problem.guess else problem.target[:0])
        self.needs = any(needs)
        self.gradients: list[Tensor | None] = [None, None, None]
        if self.needs:
            self.gradients = [
                torch.zeros(tensor.shape, **kind) if tensor is not None and need else None
                for tensor, need in zip(student, needs, strict=True)
            ]
        self._kind, self._shape = kind, (min(chunk, tokens), student.weight.size(0))
        #: The dtype of distributions at the objective's temperature.
        self._wide = torch.float64 if problem.objective.temperature > WIDE else self.dtype
        self._buffers: dict[int, Tensor] = {}

    def _buffer(self, number: int, tokens: int) -> Tensor:
        if number not in self._buffers:
            kind = self._kind | ({"dtype": self._wide} if number else {})
            self._buffers[number] = torch.empty(self._shape, **kind)
        return self._buffers[number][:tokens]

    def add(self, rows: slice | Tensor, taught: bool) -> None:
        """Compute the loss of a chunk and add its gradients."""
        problem, t = self.problem, self.problem.objective.temperature
        y = problem.target[rows].unsqueeze(1)
        a = problem.label_weight[rows].to(self.dtype)
        weight = problem.teacher_weight
        b = torch.full_like(a, t) if weight is None else t * weight[rows].to(self.dtype)
        if taught and self.is_plain_kl:
            student, gradient = self._plain_kl(rows, y, a, b)
        else:
            student, gradient = self._whole(rows, y, a, b, taught)
        nll = student.normaliser - student.at_label
        self.nll[rows] = nll
        self.labels[rows] = self._smoothed(nll, student.normaliser, student.smooth)
        if problem.guess:
            self.guess[rows] = student.guess
        if gradient is not None:
            gradient.scatter_add_(1, y, (-self._on_label(gradient.size(1)) * a).unsqueeze(1))
            self._differentiate(rows, gradient)

    # `_whole` and `_plain_kl` return the student's statistics, and the gradient [n, K] without the label's own share.
    # a [n] is the label weight, b [n] the teacher weight times T.

    def _whole(
        self, rows: slice | Tensor, y: Tensor, a: Tensor, b: Tensor, taught: bool
    ) -> tuple[_Student, Tensor | None]:
        """Compute any objective, on all classes at once."""
        t = self.problem.objective.temperature
        theirs = self._teacher_log_probs(rows, y.size(0)) if taught else None
        z = project_into(self.student.rows(rows), self._buffer(0, y.size(0)))
        guess = z.argmax(1) if self.problem.guess else self.guess
        z -= z.amax(1, keepdim=True)
        at_label, smooth = z.gather(1, y).squeeze(1), self._smoothing(z)
        # At temperature 1 the label's and the teacher's term share the softmax.
        shared = a if t == 1 else torch.zeros_like(a)
        gradient = normaliser = None
        if isinstance(theirs, Sampled):
            self.teacher[rows], gradient, normaliser = self._drawn_classes(z, theirs, b, shared)
        elif isinstance(theirs, TopK):
            self.teacher[rows], gradient, normaliser = self._top_classes(z, theirs, b, shared)
        elif theirs is not None:
            self.teacher[rows], gradient, normaliser = self._all_classes(z, theirs, b, shared)
        if gradient is not None:
            gradient = gradient.to(self.dtype)
            self._subtract_smoothing(gradient, a)
        if normaliser is None or t != 1:
            probs = z.exp_()
            total = probs.sum(1)
            normaliser = total.log()
            if self.needs:
                probs *= (a / total).unsqueeze(1)
                if gradient is None:
                    gradient = self._subtract_smoothing(probs, a)
                else:
                    gradient += probs
        return _Student(normaliser, at_label, smooth, guess), gradient

    def _plain_kl(self, rows: slice | Tensor, y: Tensor, a: Tensor, b: Tensor) -> tuple[_Student, Tensor | None]:
        """Compute the forward KL of one teacher, in blocks of classes.

        Each block is shifted by its own maximum logit, and the blocks are combined at the end. The slope of the forward
        KL is -probs, which sums to -1, so half the passes and buffers of `_all_classes` suffice.
        """
        t, n, classes = self.problem.objective.temperature, y.size(0), self.student.weight.size(0)
        student, teacher = self.student.rows(rows), self.members[0].rows(rows)
        z, u = self._buffer(0, n), self._buffer(1, n)
        size = projection.BLOCK
        blocks = [slice(start, min(start + size, classes)) for start in range(0, classes, size)]
        found: list[tuple[Tensor, ...]] = []
        for block in blocks:
            s = project(student.classes(block))
            v = project_wide(teacher.classes(block), s.size(1))
            if t != 1:
                v *= 1 / t
            top, guess = s.max(1) if self.problem.guess else (s.amax(1), self.guess)
            top, top_u = _finite(top), _finite(v.amax(1))
            s -= top.unsqueeze(1)
            v -= top_u.unsqueeze(1)
            at_label = s.gather(1, (y - block.start).clamp(0, s.size(1) - 1)).squeeze(1)
            smooth, mass = self._smoothing(s, block).expand_as(a), self._mass(block, a)
            powers_u = torch.exp(v, out=u[:, block])
            total_u = powers_u.sum(1)
            # The difference of two -inf, and 0 * inf, would be NaN.
            value = v.sub_(s, alpha=1 / t).nan_to_num_().mul_(powers_u).sum(1)
            if t == 1:
                total = total_t = torch.exp(s, out=z[:, block]).sum(1)
            else:
                z[:, block] = s
                total_t = torch.mul(s, 1 / t, out=v).exp_().sum(1)
                total = s.exp_().sum(1)
            found.append((top, top_u, total, total_t, total_u, value, at_label, smooth, mass, guess))
            del s, v  # to free memory before the next block
        stacked = map(torch.stack, zip(*found, strict=True))
        top, top_u, total, total_t, total_u, value, at_label, smooth, mass, guess = stacked

        # [blocks, n]: the shift of each block from the maximum logit of all blocks.
        (greatest, best), greatest_u = top.max(0), top_u.amax(0)
        shift, shift_u = top - greatest, top_u - greatest_u
        share, share_t, share_u = shift.exp(), (shift / t).exp(), shift_u.exp()
        total, total_t = (total * share).sum(0), (total_t * share_t).sum(0)
        value = (share_u * (value + total_u * (shift_u - shift / t))).nan_to_num().sum(0)
        total_u = (total_u * share_u).sum(0)
        normaliser = total.log()
        self.teacher[rows] = t**2 * (value / total_u - total_u.log() + total_t.log())

        where = torch.div(y, size, rounding_mode="floor").t()
        of_student = _Student(
            normaliser,
            (at_label + shift).gather(0, where).squeeze(0),
            (smooth + mass * shift).sum(0),
            guess.gather(0, best.unsqueeze(0)).squeeze(0) + best * size if self.problem.guess else self.guess,
        )
        if not self.needs:
            return of_student, None
        on_label, on_t, on_u = share * (a / total), share_t * (b / total_t), share_u * (-b / total_u)
        for number, block in enumerate(blocks):
            s, gradient = z[:, block], u[:, block]
            gradient.mul_(on_u[number].unsqueeze(1))
            if t == 1:
                gradient.addcmul_(s, (on_label + on_t)[number].unsqueeze(1))
            else:
                powers = (s / t).exp_()
                gradient.addcmul_(powers, on_t[number].unsqueeze(1))
                gradient.addcmul_(s.exp_(), on_label[number].unsqueeze(1))
            self._subtract_smoothing(gradient, a, block)
        return of_student, u

    # The label's term.

    def _smoothing(self, z: Tensor, classes: slice = ALL) -> Tensor:
        """Return the sum of shifted logits, weighted by the prior, over some classes, `[n]`; [] without smoothing."""
        alpha, prior = self.problem.label_smoothing, self.problem.prior
        if alpha == 0:
            return z.new_zeros(())
        return z.sum(1) if prior is None else z @ prior[classes].to(z)

    def _mass(self, classes: slice, like: Tensor) -> Tensor:
        """Return the increase of `_smoothing` when all logits of these classes grow by 1, `[n]`."""
        prior = self.problem.prior
        if self.problem.label_smoothing == 0:
            return torch.zeros_like(like)
        if prior is None:
            return torch.full_like(like, classes.stop - classes.start)
        return prior[classes].sum().to(like).expand_as(like)

    def _smoothed(self, nll: Tensor, normaliser: Tensor, smooth: Tensor) -> Tensor:
        alpha, prior, classes = self.problem.label_smoothing, self.problem.prior, self.student.weight.size(0)
        if alpha == 0:
            return nll
        mass = classes if prior is None else 1  # `_mass` of all classes
        return smoothed_cross_entropy(nll, mass * normaliser - smooth, alpha, classes, prior is None)

    def _on_label(self, classes: int) -> float:
        """Return the weight of the smoothed target on the label, in excess of that on every class."""
        alpha = self.problem.label_smoothing
        return 1 - alpha if alpha == 0 or self.problem.prior is not None else 1 - alpha - alpha / (classes - 1)

    def _subtract_smoothing(self, gradient: Tensor, a: Tensor, classes: slice = ALL) -> Tensor:
        """Subtract the smoothing share of some classes from their gradient, in place."""
        alpha, prior = self.problem.label_smoothing, self.problem.prior
        if alpha == 0:
            return gradient
        if prior is None:
            return gradient.sub_((alpha / (self.student.weight.size(0) - 1) * a).unsqueeze(1))
        return gradient.addcmul_(prior[classes].to(gradient), a.unsqueeze(1), value=-alpha)

    # The teacher's term.

    def _teacher_log_probs(self, rows: slice | Tensor, n: int) -> Tensor | TopK | Sampled:
        """Return the teacher at the temperature: log-probabilities `[n, K]`, a `TopK` or a `Sampled`."""
        objective = self.problem.objective
        if isinstance(self.problem.teacher, TopK | Sampled):
            return self.problem.teacher.rows(rows)
        mixture = objective.mixture
        mixed: Tensor | None = None
        total: Tensor | None = None
        for number, member in enumerate(self.members):
            part = project_into(member.rows(rows), self._buffer(1 if mixed is None else 2, n))
            if objective.temperature != 1:
                part *= 1 / objective.temperature
            _log_softmax_(part)
            if not mixture.is_mean:
                weight = mixture.log_weight(number, part)
                total = weight if total is None else torch.logaddexp(total, weight)
                part += weight
            mixed = part if mixed is None else torch.logaddexp(mixed, part, out=mixed)
        assert mixed is not None
        if total is not None:
            mixed -= total
        elif len(self.members) > 1:
            mixed -= math.log(len(self.members))
        return mixed if objective.top_k is None else top_k(mixed, objective.top_k)

    # `_all_classes`, `_top_classes` and `_drawn_classes` return the loss [n], its gradient [n, K] with respect to the
    # student's logits (None if not needed), and the log-normaliser [n] of z / T. b is the teacher weight times T.
    # `shared` times the student's distribution is added to the gradient.

    def _all_classes(self, z: Tensor, log_t: Tensor, b: Tensor, shared: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        objective = self.problem.objective
        t = objective.temperature
        best = top_k(log_t, objective.ranking) if objective.ranking else None
        log_q = torch.mul(z, 1 / t, out=self._buffer(2, z.size(0)))
        normaliser = log_q.exp().sum(1).log_()  # z is at most 0
        log_q -= normaliser.unsqueeze(1)
        value, slope = objective.divergence.value_and_slope(log_q, log_t)
        q = log_q.exp_()
        rank = _rank_all(best, q)
        loss = (t**2 * (value + rank.value)).to(self.dtype)
        if not self.needs:
            return loss, None, normaliser
        q *= (shared - b * (slope.sum(1) + rank.total)).unsqueeze(1)
        gradient = q.addcmul_(slope, b.unsqueeze(1))
        gradient.scatter_add_(1, rank.ids, rank.slope * b.unsqueeze(1))
        return loss, gradient, normaliser

    def _top_classes(self, z: Tensor, teacher: TopK, b: Tensor, shared: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        objective = self.problem.objective
        t, k = objective.temperature, objective.ranking
        teacher, known = without_missing(teacher)
        b = b.masked_fill(~known, 0.0)
        s = torch.mul(z, 1 / t, out=self._buffer(1, z.size(0)))
        s_k = s.gather(1, teacher.ids)
        ours = s.topk(k) if k else None
        # The other classes are shifted by their own maximum, so that their sum does not underflow beside the k.
        s.scatter_(1, teacher.ids, -torch.inf)
        top = s.amax(1, keepdim=True).clamp_min(torch.finfo(s.dtype).min)
        rest = s.sub_(top).exp_().sum(1, keepdim=True).clamp_min(torch.finfo(s.dtype).tiny)
        s_k = torch.cat([s_k, top + rest.log()], 1)
        normaliser = s_k.logsumexp(1, keepdim=True)
        log_q = s_k - normaliser
        classes = teacher_classes(teacher, objective.rest).to(log_q.dtype)
        value, slope = objective.divergence.value_and_slope(log_q, classes)
        q = log_q.exp()
        rank = _no_rank(value)
        if ours is not None:
            rank = _rank(teacher, k, q[:, :k], ours.indices, (ours.values - normaliser).exp())
        loss = (t**2 * (value + rank.value)).masked_fill(~known, 0.0).to(self.dtype)
        if not self.needs:
            return loss, None, normaliser.squeeze(1)
        on_q = (shared - b * (slope.sum(1) + rank.total)).unsqueeze(1)
        b_ = b.unsqueeze(1)
        s *= b_ * slope[:, -1:] / rest + on_q * (top - normaliser).exp()
        s.scatter_(1, teacher.ids, (b_ * slope + on_q * q)[:, :-1])
        s.scatter_add_(1, rank.ids, rank.slope * b_)
        return loss, s, normaliser.squeeze(1)

    def _drawn_classes(
        self, z: Tensor, teacher: Sampled, b: Tensor, shared: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        t = self.problem.objective.temperature
        teacher, known = without_missing_sampled(teacher)
        b = b.masked_fill(~known, 0.0)
        s = torch.mul(z, 1 / t, out=self._buffer(1, z.size(0)))
        probs, drawn = teacher.probs.to(s.dtype), s.gather(1, teacher.ids)
        powers = s.exp_()  # z is at most 0
        total = powers.sum(1)
        normaliser = total.log()
        lowest = torch.finfo(s.dtype).min
        found = (drawn - normaliser.unsqueeze(1)).clamp_min(lowest).mul_(probs).sum(1)
        loss = (t**2 * (teacher.negentropy.to(s.dtype) - found)).masked_fill(~known, 0.0).to(self.dtype)
        if not self.needs:
            return loss, None, normaliser
        powers *= ((shared + b * probs.sum(1)) / total).unsqueeze(1)
        return loss, powers.scatter_add_(1, teacher.ids, -b.unsqueeze(1) * probs), normaliser

    def _differentiate(self, rows: slice | Tensor, gradient: Tensor) -> None:
        """Add the gradients of the projection's three tensors, given the gradient with respect to the logits."""
        hidden, weight, _ = self.student.rows(rows)
        d_hidden, d_weight, d_bias = self.gradients
        if d_bias is not None:
            d_bias += gradient.sum(0)
        unit = gradient.new_ones(())
        if hidden.dtype == torch.float16:
            unit = torch.linalg.vector_norm(gradient, torch.inf).clamp_min(1e-30) / HALF_PEAK
            gradient /= unit
        g = gradient.to(hidden.dtype)
        if d_hidden is not None:
            for part, matrix in _blocks(g, weight):
                d_hidden[rows] += product(part, matrix) * unit
        if d_weight is not None and d_weight.dtype == g.dtype:
            d_weight.addmm_(g.t(), hidden)
        elif d_weight is not None:
            for part, d_matrix in _blocks(g, d_weight):
                d_matrix.addcmul_(product(part.t(), hidden), unit)


class _Student(NamedTuple):
    """Statistics of the student's logits for the label's term. A token's logits are shifted to the maximum 0."""

    normaliser: Tensor  #: [n], logsumexp of the logits
    at_label: Tensor  #: [n], the label's logit
    smooth: Tensor  #: [n], or [] without label smoothing: see `_smoothing`
    guess: Tensor  #: [n] int64, the class with the maximum logit; [0] without `guess`


class _Rank(NamedTuple):
    """The ranking loss of a chunk, and its slope at the classes where it can differ from 0."""

    value: Tensor  #: [n]
    ids: Tensor  #: [n, m] int64, the classes
    slope: Tensor  #: [n, m], derivative with respect to log q of the classes
    total: Tensor  #: [n], sum of the slopes


def _no_rank(like: Tensor) -> _Rank:
    zero = torch.zeros_like(like)
    empty = zero[:, None][:, :0]
    return _Rank(zero, empty.long(), empty, zero)


def _rank(teacher: TopK, k: int, probs: Tensor, ours: Tensor, ours_probs: Tensor) -> _Rank:
    """Compute `ranking_loss` and its slope from the student's `probs` of the teacher's k classes and its own top k."""
    with torch.enable_grad():
        theirs_q, ours_q = probs.detach().requires_grad_(), ours_probs.detach().requires_grad_()
        value = ranking_loss(teacher.ids[:, :k], teacher.log_probs[:, :k], ours, ours_q, theirs_q)
        slopes = torch.autograd.grad(value.sum(), (theirs_q, ours_q))
    slope = torch.cat([slopes[0] * probs, slopes[1] * ours_probs], 1)
    return _Rank(value.detach(), torch.cat([teacher.ids[:, :k], ours], 1), slope, slope.sum(1))


def _rank_all(best: TopK | None, q: Tensor) -> _Rank:
    """Compute `_rank` from the student's distribution `[n, K]`."""
    if best is None:
        return _no_rank(q[:, 0])
    k = best.ids.size(1)
    ours = q.topk(k)
    return _rank(best, k, q.gather(1, best.ids), ours.indices, ours.values)


def _blocks(logits: Tensor, matrix: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pair blocks of columns of `[n, K]` with blocks of rows of `[K, D]`; one block unless in half precision."""
    size = MIXED_ROWS if matrix.dtype != logits.dtype or logits.dtype.itemsize < 4 else matrix.size(0)
    return zip(logits.split(size, 1), matrix.split(size), strict=True)


def _finite(top: Tensor) -> Tensor:
    """Replace a maximum logit of -inf by the lowest finite number, because -inf - -inf is NaN. In place."""
    return top.clamp_min_(torch.finfo(top.dtype).min)


def _log_softmax_(logits: Tensor) -> None:
    """Compute the log-softmax of `[n, K]` in place, with a buffer of one block of classes."""
    top = logits.amax(1, keepdim=True)
    total = torch.zeros_like(top)
    scratch = logits.new_empty(logits.size(0), min(projection.BLOCK, logits.size(1)))
    for part in logits.split(projection.BLOCK, 1):
        part -= top  # subtracted separately from the log of the sum, to keep small differences of large logits
        total += torch.exp(part, out=scratch[:, : part.size(1)]).sum(1, keepdim=True)
    logits -= total.log_()
