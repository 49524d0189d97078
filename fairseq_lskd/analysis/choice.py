"""What of any models is looked at: which classes, how they are paired, and which three are drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from .classes import confusion, cosines, relation
from .measurement import Measurement, Plan
from .projection import propose
from .sums import ClassSums
from .terms import Terms

Three = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Options that models of all sorts have; `lskd analyze --help` says what each is."""

    split: str = "valid"
    train_split: str = "train"
    names: str | None = None
    min_count: int = 5
    types: str | None = None
    similar_by: str = "confusion"
    memory: float = 1.0

    def options(self) -> dict[str, Any]:
        """What the numbers depend on, by flag: all fields without metadata, which marks paths and how it is done."""
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.metadata}
        return {name.replace("_", "-"): value for name, value in found.items()}

    def called(self, own: Sequence[str]) -> list[str]:
        """What models are called: --names, else these names of their own, told apart by numbers."""
        return distinct(self.names.split(",") if self.names else own)

    def plan(self, counts: Tensor, models: int, where: str, terms: Terms) -> Plan:
        """The classes that are frequent enough.

        Args:
            counts: `[V]`, examples of each class; models: how many share the memory; where: that was counted.

        Raises:
            UserError: if fewer than three are, or the memory is too small for them.
        """
        enough = int((counts >= self.min_count).sum())
        if enough < 3:
            said = f"{enough or 'no'} {terms.kinds_in_full if enough > 1 else terms.kind_in_full}"
            raise UserError(
                f"--min-count {self.min_count}: {said} occur{'s' * (enough < 2)} that often in {where} (the most "
                f"frequent {int(counts.max())} times), and comparing {terms.kinds} takes three; lower it, or analyse "
                "a larger split"
            )
        try:
            return Plan.make(counts, self.min_count, self.memory * 2**30 / models)
        except ValueError as error:
            raise UserError(f"--memory {self.memory:g}: {error} a model; raise it, or raise --min-count") from None

    def three(self, find: Callable[[str], int | None], counts: Tensor, unknown: str) -> Three | None:
        """The classes of --types.

        Args:
            find: a class's number by its name; counts: `[V]`; unknown: what to say of one that is not found.

        Raises:
            UserError: naming every one that is not there or not frequent enough.
        """
        if not self.types:
            return None
        problems, found = [], []
        for name in self.types.split(","):
            kind = find(name)
            if kind is None:
                problems.append(f"{name!r} {unknown}")
            elif counts[kind] < self.min_count:
                problems.append(
                    f"{name!r} occurs {int(counts[kind])} times in {self.split}, fewer than --min-count "
                    f"{self.min_count}"
                )
            else:
                found.append(kind)
        if problems:
            raise UserError(f"--types {self.types}: {'; '.join(problems)}")
        return found[0], found[1], found[2]

    def similarity(self, measured: Sequence[Measurement], outputs: Sequence[Tensor | None]) -> Tensor:
        """`[K, K]` of the classes that are kept whole, the mean over models.

        Args:
            outputs: of each model `[V, D]`, its output matrix; needed for the similarity of embeddings alone.
        """
        if self.similar_by == "confusion":
            return confusion([relation(one.exact) for one in measured])
        return cosines([output[measured[0].exact.types] for output in outputs if output is not None])

    def check_outputs(self, lacking: Sequence[tuple[str, str]]) -> None:
        """Raises `UserError` if embeddings are to be compared, and models (name, why) have none."""
        if self.similar_by == "embedding" and lacking:
            said = "; ".join(f"{name} has no output embeddings ({why})" for name, why in lacking)
            raise UserError(f"--similar-by embedding: {said}; take confusion")


def distinct(names: Sequence[str]) -> list[str]:
    """The names, those that were there before with a number behind."""
    return [f"{name} ({names[:i].count(name) + 1})" if name in names[:i] else name for i, name in enumerate(names)]


def propose_three(similarity: Tensor, exact: ClassSums, left_out: Sequence[int] = ()) -> Three | None:
    """Two similar classes and another; the more examples they have, the better. None if too few have any.

    Args:
        similarity: `[K, K]` of the K classes of `exact`; left_out: classes not to take.
    """
    eligible = ~torch.isin(exact.types, torch.tensor(left_out, dtype=torch.int64))
    for least in (30, 10, 2):
        enough = eligible & (exact.counts.cpu() >= least)
        if int(enough.sum()) >= 3:
            a, b, c = (int(exact.types[row]) for row in propose(similarity, enough))
            return a, b, c
    return None
