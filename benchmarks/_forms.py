"""The forms of the loss that are measured. Each is a function from a problem to a loss.

Each form projects hidden states and is differentiable. It keeps only those `[tokens, vocabulary]` tensors that its
formula and autograd need. The reference forms are written from the formulas of other systems, in the way these compute
them, but do not use their code. In the formulas p is the teacher's distribution, q the student's, y the label and K the
size of the vocabulary. Losses are summed over tokens and computed in float32.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss
from torch import Tensor

from fairseq_lskd.losses import (
    Objective,
    Projection,
    TopK,
    fused_loss,
    negative_log_likelihood,
    smoothed_cross_entropy,
    smoothing_term,
    teacher_loss,
    temper,
    top_k,
)
from fairseq_lskd.losses.projection import BLOCK, project

K = 16  #: number of types in a teacher cache, the default of `lskd cache`
REFERENCE_K = 4  #: number of types in multilingual-kd-pytorch
RANKING_K = 5  #: number of types in the ranking loss of TIE-KD
QUEUE = 30_000  #: size of the queue in selective distillation
PRODUCTS_TOKENS = 256  #: tokens per chunk in `products`


class Problem(NamedTuple):
    """The input of all forms. The student's hidden states and matrix require gradients."""

    student: Projection
    teacher: Projection
    target: Tensor  #: [N]
    best: TopK  #: the teacher's K most probable classes, at the temperature
    queue: Tensor  #: [QUEUE], cross-entropies of tokens of earlier batches
    label_smoothing: float = 0.1
    kd_weight: float = 0.5
    temperature: float = 1.0


def make_problem(
    tokens: int,
    vocab: int,
    student_width: int,
    teacher_width: int,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    teacher_dtype: torch.dtype | None = None,
    temperature: float = 1.0,
    seed: int = 1,
) -> Problem:
    """Make a problem of random hidden states, and random matrices for logits with standard deviation 2."""
    random = torch.Generator().manual_seed(seed)

    def projection(width: int, dtype: torch.dtype) -> Projection:
        hidden, weight = torch.randn(tokens, width, generator=random), torch.randn(vocab, width, generator=random)
        return Projection(hidden.to(device, dtype), (weight * 2 / math.sqrt(width)).to(device, dtype))

    student, teacher = projection(student_width, dtype), projection(teacher_width, teacher_dtype or dtype)
    target = torch.randint(vocab, (tokens,), generator=random).to(device)
    queue = (4 + 3 * torch.randn(QUEUE, generator=random)).to(device)
    for tensor in (student.hidden, student.weight):
        tensor.requires_grad_()
    parts = [
        top_k(temper(_log_softmax(_logits(teacher.rows(rows))), temperature), min(K, vocab))
        for rows in torch.arange(tokens, device=device).split(256)
    ]
    best = TopK(*map(torch.cat, zip(*parts, strict=True)))
    return Problem(student, teacher, target, best, queue, temperature=temperature)


def _logits(projection: Projection) -> Tensor:
    return F.linear(projection.hidden, projection.weight)


def _log_softmax(logits: Tensor) -> Tensor:
    return F.log_softmax(logits, dim=-1, dtype=torch.float32)


def _softmax(logits: Tensor) -> Tensor:
    return F.softmax(logits, dim=-1, dtype=torch.float32)


def _teacher_logits(problem: Problem) -> Tensor:
    """Return the teacher's logits."""
    with torch.no_grad():
        return _logits(problem.teacher)


# Forms of this package.


def _fused(problem: Problem, teacher: Sequence[Projection] | TopK) -> Tensor:
    each = torch.ones_like(problem.target, dtype=torch.float32)
    return fused_loss(
        problem.student,
        problem.target,
        (1 - problem.kd_weight) * each,
        label_smoothing=problem.label_smoothing,
        teacher=teacher,
        teacher_weight=problem.kd_weight * each,
        objective=Objective(temperature=problem.temperature),
    ).loss


def fused(problem: Problem) -> Tensor:
    """`(1 - w) H_smoothed(q, y) + w T^2 KL(p^(T) || q^(T))` in chunks, from both models' hidden states."""
    return _fused(problem, [problem.teacher])


def fused_top16(problem: Problem) -> Tensor:
    """`fused` with a cache: the teacher's 16 most probable types, and all others as one class."""
    return _fused(problem, problem.best)


def fused_ls(problem: Problem) -> Tensor:
    """`H_smoothed(q, y)` in chunks, without a teacher."""
    each = torch.ones_like(problem.target, dtype=torch.float32)
    return fused_loss(problem.student, problem.target, each, label_smoothing=problem.label_smoothing).loss


def plain(problem: Problem) -> Tensor:
    """The loss of `fused` on whole tensors, as with `--loss-form plain`."""
    student = _log_softmax(_logits(problem.student))
    ignore = torch.zeros_like(problem.target, dtype=torch.bool)
    nll = negative_log_likelihood(student, problem.target, ignore).sum()
    smooth = smoothing_term(student, ignore).sum()
    labels = smoothed_cross_entropy(nll, smooth, problem.label_smoothing, student.size(-1))
    with torch.no_grad():
        teacher = temper(_log_softmax(_logits(problem.teacher)), problem.temperature)
    taught = teacher_loss(student, teacher, ignore, Objective(temperature=problem.temperature)).sum()
    return (1 - problem.kd_weight) * labels + problem.kd_weight * taught


def products(problem: Problem) -> None:
    """The matrix products of `fused` alone, in the same chunks. Every form needs at least these.

    They are the logits of student and teacher, and the gradients of the student's hidden states and matrix.
    """
    student, teacher = (Projection(p.hidden.detach(), p.weight.detach()) for p in (problem.student, problem.teacher))
    d_hidden, d_weight = torch.zeros_like(student.hidden), torch.zeros_like(student.weight)
    classes = [slice(start, start + BLOCK) for start in range(0, student.weight.size(0), BLOCK)]
    for rows in range(0, student.hidden.size(0), PRODUCTS_TOKENS):
        some = slice(rows, rows + PRODUCTS_TOKENS)
        for block in classes:
            logits = project(student.rows(some).classes(block)).to(student.hidden.dtype)
            project(teacher.rows(some).classes(block))
            d_hidden[some].addmm_(logits, student.weight[block])
            d_weight[block].addmm_(logits.t(), student.hidden[some])


# Forms of fairseq and of other systems.


def _smoothed(problem: Problem, log_q: Tensor) -> Tensor:
    return label_smoothed_nll_loss(log_q, problem.target, problem.label_smoothing)[0]


def _old_smoothed(problem: Problem, log_q: Tensor) -> Tensor:
    """The smoothed loss of fairseq up to 0.10, `[N]`: `(1 - alpha) nll + alpha / K * smooth`."""
    nll = -log_q.gather(-1, problem.target.unsqueeze(-1)).squeeze(-1)
    return (1 - problem.label_smoothing) * nll - problem.label_smoothing / log_q.size(-1) * log_q.sum(-1)


def fairseq_ls(problem: Problem) -> Tensor:
    """`H_smoothed(q, y)` by fairseq's own function, without a teacher."""
    logits = _logits(problem.student)
    return _smoothed(problem, _log_softmax(logits))


def nmt_kd(problem: Problem) -> Tensor:
    """songmzhang/NMT-KD, word level: `(1 - w) H_smoothed(q, y) + w sum_k (p_k log p_k - p_k log q_k)`."""
    ours, theirs = _logits(problem.student), _teacher_logits(problem)
    labels = _smoothed(problem, _log_softmax(ours))
    p, log_p, log_q = _softmax(theirs), _log_softmax(theirs), _log_softmax(ours)
    taught = (p * log_p - p * log_q).sum(-1).sum()
    return (1 - problem.kd_weight) * labels + problem.kd_weight * taught


def tie_kd_x3(problem: Problem) -> Tensor:
    """songmzhang/NMT-KD, TIE-KD: the mean of three iterations of KL and ranking loss.

    `(1 - w) H_smoothed(q, y) + w / 3 sum_i (KL(p || q) + R)`, with `log(x + 1e-6)` for logarithms. Each iteration
    computes its own logits, here from the same hidden states.
    """
    ours, theirs = _logits(problem.student), _teacher_logits(problem)
    loss = (1 - problem.kd_weight) * _smoothed(problem, _log_softmax(ours))
    for iteration in range(3):
        if iteration:
            ours, theirs = _logits(problem.student), _teacher_logits(problem)
        loss = loss + problem.kd_weight / 3 * _tie(ours, theirs)
    return loss


def _tie(ours: Tensor, theirs: Tensor) -> Tensor:
    """KL plus R, the sum of two hinges over the top 5 types of teacher (t) and student (s).

    The hinges are `max(0, q(t_i) - q(t_1))`, and `max(0, q(s_j) - q(t_i))` if `p(t_i) > p(s_j)`.
    """
    p, q = _softmax(theirs), _softmax(ours)
    log_p, log_q = (p + 1e-6).log(), (q + 1e-6).log()
    divergence = (p * log_p - p * log_q).sum(-1)
    k = min(RANKING_K, p.size(-1))
    (p_t, t), (q_s, s) = p.topk(k), q.topk(k)
    q_t, p_s = q.gather(-1, t), p.gather(-1, s)
    first = (q_t - q_t[..., :1]).clamp_min(0).sum(-1)
    before = p_t.unsqueeze(-1) > p_s.unsqueeze(-2)
    others = ((q_s.unsqueeze(-2) - q_t.unsqueeze(-1)).clamp_min(0) * before).sum((-2, -1))
    return (divergence + first + others).sum()


def varungumma(problem: Problem) -> Tensor:
    """VarunGumma/fairseq: `w KL(p || q) + (1 - w) nll`, without label smoothing. Padding is masked for each type."""
    ours, theirs = _logits(problem.student), _teacher_logits(problem)
    log_q, log_p = _log_softmax(ours), _log_softmax(theirs)
    padding = problem.target.lt(0).unsqueeze(-1)  # the problem has none
    taught = F.kl_div(log_q, log_p, log_target=True, reduction="none").masked_fill_(padding, 0).sum()
    return problem.kd_weight * taught + (1 - problem.kd_weight) * F.nll_loss(log_q, problem.target, reduction="sum")


def selective_all(problem: Problem) -> Tensor:
    """LeslieOverfitting/selective_distillation, all tokens: `H_smoothed(q, y) + KL(p || q)`, with `log(softmax)`."""
    return _selective(problem, chosen=False)


def selective_global(problem: Problem) -> Tensor:
    """`selective_all` with KL only for tokens with a cross-entropy in the upper half of a queue."""
    return _selective(problem, chosen=True)


def _selective(problem: Problem, chosen: bool) -> Tensor:
    ours, theirs = _logits(problem.student), _teacher_logits(problem)
    log_q = _softmax(ours).log()
    labels = _old_smoothed(problem, log_q)
    p = _softmax(theirs * problem.temperature)  # the original code multiplies, and only the teacher's logits
    if chosen:  # the original code selects tokens that are not padding: here all
        real = problem.target.ge(0)
        log_q, p, labels, target = log_q[real], p[real], labels[real], problem.target[real]
    taught = F.kl_div(log_q, p, reduction="none").sum(-1)
    if chosen:
        nll = -log_q.detach().gather(-1, target.unsqueeze(-1)).squeeze(-1)
        queue = torch.cat([problem.queue[nll.numel() :], nll])
        threshold = queue.topk(math.ceil(queue.numel() / 2)).values[-1]
        taught = taught[nll >= threshold]
    return labels.sum() + taught.sum()


def rayeren_top4(problem: Problem) -> Tensor:
    """RayeRen/multilingual-kd-pytorch: `w T^2 CE(p^(T), q^(T)) + (1 - w) H_smoothed(q, y)`, p of 4 cached types."""
    logits, t = _logits(problem.student).float(), problem.temperature
    labels = _old_smoothed(problem, F.log_softmax(logits, dim=-1)).sum()
    log_q = F.log_softmax(logits / t, dim=-1)
    # `best` already has the temperature.
    p = problem.best.log_probs[:, :REFERENCE_K].softmax(-1)
    taught = -(log_q.gather(-1, problem.best.ids[:, :REFERENCE_K]) * p).sum()
    return problem.kd_weight * t * t * taught + (1 - problem.kd_weight) * labels


def torchtune_chunked8(problem: Problem) -> Tensor:
    """torchtune's chunked "forward KL": `-sum_k p_k log q_k`, after the logits of all 8 chunks; without labels.

    Terms with infinite logits are left out.
    """
    pairs = zip(problem.student.hidden.chunk(8), problem.teacher.hidden.chunk(8), strict=True)
    logits = []
    for ours, theirs in pairs:
        with torch.no_grad():
            says = F.linear(theirs, problem.teacher.weight)
        logits.append((F.linear(ours, problem.student.weight), says))
    loss = problem.student.hidden.new_zeros((), dtype=torch.float32)
    for ours, theirs in logits:
        p, infinite = _softmax(theirs), ours.isinf()
        loss = loss - (p * _log_softmax(ours)).masked_fill(infinite, 0).sum(-1).sum()
    return loss


def liger_n4(problem: Problem) -> Tensor:
    """Liger-Kernel's method with a quarter of the tokens at a time: `(1 - w) nll + w KL(p || q)`."""
    return _liger(problem, 4, _differentiate)


def liger_n16(problem: Problem) -> Tensor:
    """Liger-Kernel's method with a sixteenth of the tokens at a time."""
    return _liger(problem, 16, _differentiate)


def liger_n16_compiled(problem: Problem) -> Tensor:
    """`liger_n16` with torch.compile, the default of Liger-Kernel."""
    return _liger(problem, 16, _compiled())


def liger_1024_compiled(problem: Problem) -> Tensor:
    """Liger-Kernel's method with its defaults: 1,024 tokens at a time, compiled."""
    return _liger(problem, -(-problem.target.numel() // 1024), _compiled())


def _liger(problem: Problem, chunks: int, differentiate: Callable[..., Any]) -> Tensor:
    student, teacher = problem.student, problem.teacher
    return _Liger.apply(
        student.hidden, student.weight, teacher, problem.target, problem.kd_weight, chunks, differentiate
    )


def _chunk_loss(
    hidden: Tensor, weight: Tensor, teacher_hidden: Tensor, teacher_weight: Tensor, target: Tensor, kd_weight: float
) -> Tensor:
    ours, theirs = F.linear(hidden, weight), F.linear(teacher_hidden, teacher_weight)
    log_q, log_p = _log_softmax(ours), _log_softmax(theirs)
    labels = F.nll_loss(log_q, target, reduction="sum")
    taught = F.kl_div(log_q, log_p, log_target=True, reduction="sum")
    return (1 - kd_weight) * labels + kd_weight * taught


_differentiate = torch.func.grad_and_value(_chunk_loss, argnums=(0, 1))


@functools.cache
def _compiled() -> Callable[..., Any]:
    return torch.compile(_differentiate, dynamic=False)


class _Liger(torch.autograd.Function):
    """Compute loss and gradients chunk by chunk in the forward pass. The backward pass only rescales."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        teacher: Projection,
        target: Tensor,
        kd_weight: float,
        chunks: int,
        differentiate: Callable[..., Any],
    ) -> Tensor:
        d_weight, d_hidden = torch.zeros_like(weight), []
        loss = torch.zeros((), device=hidden.device)
        for h, t, y in zip(hidden.chunk(chunks), teacher.hidden.chunk(chunks), target.chunk(chunks), strict=True):
            (part, part_of_weight), value = differentiate(h, weight, t, teacher.weight, y, kd_weight)
            d_hidden.append(part)
            d_weight += part_of_weight
            loss += value
        ctx.save_for_backward(torch.cat(d_hidden), d_weight)
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight = ctx.saved_tensors
        if grad != 1:
            d_hidden, d_weight = d_hidden * grad, d_weight * grad
        return d_hidden, d_weight, None, None, None, None, None


OURS = [fused, fused_top16, fused_ls, plain]
REFERENCES = [
    fairseq_ls,
    nmt_kd,
    tie_kd_x3,
    varungumma,
    selective_all,
    selective_global,
    rayeren_top4,
    torchtune_chunked8,
    liger_n4,
    liger_n16,
    liger_n16_compiled,
    liger_1024_compiled,
]
FORMS = {form.__name__: form for form in (*OURS, *REFERENCES)}
