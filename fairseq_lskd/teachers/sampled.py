"""Sampled caches: the sizes of the head and the draws, the draws themselves, and the error of their gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..losses import Draws, choose_head, draw, top_k
from ..losses.sampled import Error, dense, gradient_error
from .cache import record_dtype
from .forced import ForcedTeacher
from .top_k import TeacherTopK

#: Number of target tokens, from the beginning of the data, on which `choose` measures variances.
MEASURED = 256
#: Number of estimates with which the error of the gradient is measured.
REPEATS = 32


class Plan(NamedTuple):
    """What a cache stores for each token."""

    k: int  #: classes in the head
    sampled: int = 0  #: draws from the tail; 0 in a top-k cache
    draws: int = 1  #: copies of the draws; each epoch uses the next
    seed: int = 1

    def dtype(self, vocabulary: int) -> np.dtype:
        return record_dtype(self.k, vocabulary, self.sampled, self.draws)

    def options(self) -> dict[str, Any]:
        """Return the options as a cache's plan records them."""
        if not self.sampled:
            return {"--top-k": self.k}
        return {"--top-k": self.k, "--sampled": self.sampled, "--draws": self.draws, "--seed": self.seed}


def affordable(budget: int, vocabulary: int, draws: int) -> dict[int, int]:
    """Return the number of draws per copy that fit into `budget` bytes per token, for each size of the head.

    Raises:
        UserError: if the budget is too small for a head of one class and one draw.
    """
    least = record_dtype(1, vocabulary, 1, draws).itemsize
    of_class = record_dtype(2, vocabulary, 1, draws).itemsize - least
    of_draw = record_dtype(1, vocabulary, 2, draws).itemsize - least
    found = {}
    for k in range(1, vocabulary):
        left = budget - least - (k - 1) * of_class
        if left < 0:
            break
        found[k] = 1 + left // of_draw
    if not found:
        raise UserError(
            f"--bytes-per-token {budget}: a head of one type and one draw take {least} bytes"
            + (f" with --draws {draws}. " if draws > 1 else ". ")
            + f"Give {least} or more"
        )
    return found


def chances(seed: int, sentence: int, tokens: int, draws: int) -> np.ndarray:
    """Return random numbers in [0, 1), `[tokens, draws]` float64, that depend only on the seed and the sentence."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, sentence])).random((tokens, draws))


class TeacherSampled(TeacherTopK):
    """Run a teacher on a dataset, and take the most probable classes and draws from the others at each token."""

    def __init__(
        self,
        teacher: ForcedTeacher,
        task: Any,
        dataset: Any,
        plan: Plan,
        temperature: float,
        like: Tensor,
        max_tokens: int,
    ):
        """Prepare the teacher as `TeacherTopK` does, for a plan with draws."""
        super().__init__(teacher, task, dataset, plan.k, temperature, like, max_tokens)
        self.plan = plan

    def _keeper(self, sentences: np.ndarray, counts: np.ndarray) -> Callable[[Tensor, slice], Draws]:
        plan = self.plan
        numbers = [chances(plan.seed, int(i), int(n), plan.draws) for i, n in zip(sentences, counts, strict=True)]
        chance = torch.from_numpy(np.concatenate([np.zeros((0, plan.draws)), *numbers]))
        return lambda log_probs, rows: draw(log_probs, plan.k, plan.sampled, chance[rows].to(log_probs.device))


def sample(source: TeacherTopK, sentences: Iterable[int], wanted: int = MEASURED) -> Tensor:
    """Return the teacher's log-probabilities at the first `wanted` tokens of sentences, `[N, V]`, on the CPU."""
    found: list[Tensor] = []
    for sentence in sentences:
        if sum(map(len, found)) >= wanted:
            break
        for ids in source.batches(np.array([sentence])):
            found += source.whole(ids)
    if not found:
        raise UserError("all sentences are too long for the teacher. Give data with shorter ones, or another teacher")
    return torch.cat(found)[:wanted]


def choose(budget: int, log_probs: Tensor, draws: int, seed: int) -> Plan:
    """Return the plan with the smallest variance on some tokens, at `budget` bytes per token."""
    spent = affordable(budget, log_probs.size(-1), draws)
    k = choose_head(log_probs, spent)
    return Plan(k, spent[k], draws, seed)


def errors(plan: Plan, log_probs: Tensor) -> dict[str, Error]:
    """Return the errors of the forward KL's gradient with a sampled cache, and with top-k caches of the same size.

    With `--kd-rest class`, the remaining probability is spread as the student spreads it; here the student is taken to
    be uniform. With `renormalise`, the other classes have no probability.
    """
    vocabulary, count = log_probs.size(-1), len(log_probs)

    def drawn() -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(plan.seed)
        for _ in range(REPEATS):
            chance = torch.rand(count, 1, generator=generator, dtype=torch.float64)
            yield dense(draw(log_probs, plan.k, plan.sampled, chance).copy(0), vocabulary)

    first, second = (record_dtype(k, vocabulary).itemsize for k in (1, 2))
    k = max(1, min(vocabulary - 1, 1 + (plan.dtype(vocabulary).itemsize - first) // (second - first)))
    best = top_k(log_probs, k)
    kept = torch.zeros_like(log_probs).scatter_(-1, best.ids, best.log_probs.exp())
    rest = best.rest.exp().unsqueeze(-1)
    spread = torch.where(kept > 0, kept, rest / (vocabulary - k))
    return {
        f"a head of {plan.k} and {plan.sampled} draws": gradient_error(log_probs, drawn()),
        f"the top {k}, --kd-rest renormalise": gradient_error(log_probs, [kept / (1 - rest)]),
        f"the top {k}, --kd-rest class, a uniform student": gradient_error(log_probs, [spread]),
    }
