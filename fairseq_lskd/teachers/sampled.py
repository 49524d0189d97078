"""What a sampled cache keeps of a teacher: how large head and draws are, the draws themselves, and what they cost."""

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
from .online import OnlineTeacher
from .top_k import TeacherTopK

#: Target tokens on which head and draws are weighed against each other, the first of the data.
MEASURED = 256
#: Draws by which the gradient's error is measured.
REPEATS = 32


class Plan(NamedTuple):
    """What is kept of each token."""

    k: int  #: classes of the head
    sampled: int = 0  #: draws from the tail; 0 is a top k alone
    draws: int = 1  #: copies of them, one an epoch
    seed: int = 1

    def dtype(self, vocabulary: int) -> np.dtype:
        return record_dtype(self.k, vocabulary, self.sampled, self.draws)

    def options(self) -> dict[str, Any]:
        """As a cache's plan has them."""
        if not self.sampled:
            return {"--top-k": self.k}
        return {"--top-k": self.k, "--sampled": self.sampled, "--draws": self.draws, "--seed": self.seed}


def affordable(budget: int, vocabulary: int, draws: int) -> dict[int, int]:
    """How many classes a copy can draw for each size of the head, at so many bytes a token.

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
            f"--bytes-per-token {budget}: a head of one class and one draw take {least} bytes"
            + (f" with --draws {draws}; " if draws > 1 else "; ")
            + f"give {least} or more"
        )
    return found


def chances(seed: int, sentence: int, tokens: int, draws: int) -> np.ndarray:
    """`[tokens, draws]` float64 in [0, 1): a sentence's own, whatever batch or process it is in."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, sentence])).random((tokens, draws))


class TeacherSampled(TeacherTopK):
    """A teacher's best classes, and draws from the others, at the tokens of a dataset's sentences."""

    def __init__(
        self,
        teacher: OnlineTeacher,
        task: Any,
        dataset: Any,
        plan: Plan,
        temperature: float,
        like: Tensor,
        max_tokens: int,
    ):
        """As `TeacherTopK`, of a plan that has draws."""
        super().__init__(teacher, task, dataset, plan.k, temperature, like, max_tokens)
        self.plan = plan

    def _keeper(self, sentences: np.ndarray, counts: np.ndarray) -> Callable[[Tensor, slice], Draws]:
        plan = self.plan
        numbers = [chances(plan.seed, int(i), int(n), plan.draws) for i, n in zip(sentences, counts, strict=True)]
        chance = torch.from_numpy(np.concatenate([np.zeros((0, plan.draws)), *numbers]))
        return lambda log_probs, rows: draw(log_probs, plan.k, plan.sampled, chance[rows].to(log_probs.device))


def sample(source: TeacherTopK, sentences: Iterable[int], wanted: int = MEASURED) -> Tensor:
    """`[N, V]`, about so many: the teacher's log-probabilities at the first tokens of some sentences, on the CPU."""
    found: list[Tensor] = []
    for sentence in sentences:
        if sum(map(len, found)) >= wanted:
            break
        for ids in source.batches(np.array([sentence])):
            found += source.whole(ids)
    if not found:
        raise UserError("no sentence has a teacher: all of them are too long for it")
    return torch.cat(found)[:wanted]


def choose(budget: int, log_probs: Tensor, draws: int, seed: int) -> Plan:
    """The head and the draws of the smallest variance, measured on some tokens, at so many bytes a token."""
    spent = affordable(budget, log_probs.size(-1), draws)
    k = choose_head(log_probs, spent)
    return Plan(k, spent[k], draws, seed)


def errors(plan: Plan, log_probs: Tensor) -> dict[str, Error]:
    """The forward KL's gradient from a sampled cache, and from caches of a top k that take as many bytes.

    What the student does with the mass of all others is known only for `renormalise`, which leaves them none; with
    `class` it is spread as the student has it, here evenly.
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
        f"the top {k}, --kd-rest class, an even student": gradient_error(log_probs, [spread]),
    }
