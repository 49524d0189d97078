"""The choice of classes to analyse, of pairs of similar classes, and of the three classes to plot."""

from __future__ import annotations

import dataclasses
import itertools
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
    """Options for all kinds of models, as described by `lskd analyze --help`."""

    split: str = "valid"
    train_split: str = "train"
    names: str | None = None
    min_count: int = 5
    types: str | None = None
    similar_by: str = "confusion"
    memory: float = 1.0

    def options(self) -> dict[str, Any]:
        """Return the options that the numbers depend on, by flag: fields without metadata (which marks the others)."""
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.metadata}
        return {name.replace("_", "-"): value for name, value in found.items()}

    def called(self, own: Sequence[str]) -> list[str]:
        """Return distinct names for the models: those of --names, or else `own`."""
        return distinct(self.names.split(",") if self.names else own)

    def plan(self, counts: Tensor, models: int, where: str, terms: Terms) -> Plan:
        """Plan the measurement of the classes that are frequent enough.

        Args:
            counts: `[V]`, number of examples of each class.
            models: number of models that share the memory.
            where: name of the data, for messages.

        Raises:
            UserError: if fewer than three classes are frequent enough, or the memory is too small.
        """
        enough = int((counts >= self.min_count).sum())
        if enough < 3:
            said = f"{enough or 'no'} {terms.kinds_in_full if enough > 1 else terms.kind_in_full}"
            raise UserError(
                f"--min-count {self.min_count}: {said} occur{'s' * (enough < 2)} that often in {where} (maximum: "
                f"{int(counts.max())} times), expected at least three {terms.kinds} to compare. Lower --min-count, or "
                "analyse a larger split"
            )
        try:
            return Plan.make(counts, self.min_count, self.memory * 2**30 / models)
        except ValueError as error:
            raise UserError(f"--memory {self.memory:g}: {error} per model. Raise --memory or --min-count") from None

    def three(self, find: Callable[[str], int | None], counts: Tensor, unknown: str) -> Three | None:
        """Return the classes of --types, or None if the option is not given.

        Args:
            find: function that returns the number of a class by its name.
            counts: `[V]`, number of examples of each class.
            unknown: message about a name that is not found.

        Raises:
            UserError: if a class is not found or not frequent enough. The message names all of them.
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
        """Return the similarity of the K classes with whole distributions, `[K, K]`, the mean over models.

        Args:
            measured: measurements of the models.
            outputs: output matrix of each model, `[V, D]`; only used for `--similar-by embedding`.
        """
        if self.similar_by == "confusion":
            return confusion([relation(one.exact) for one in measured])
        return cosines([output[measured[0].exact.types] for output in outputs if output is not None])

    def check_outputs(self, lacking: Sequence[tuple[str, str]]) -> None:
        """Raise `UserError` for `--similar-by embedding` if models, given as (name, reason), lack embeddings."""
        if self.similar_by == "embedding" and lacking:
            said = "; ".join(f"{name} has no output embeddings ({why})" for name, why in lacking)
            raise UserError(f"--similar-by embedding: {said}. Use --similar-by confusion")


def distinct(names: Sequence[str]) -> list[str]:
    """Return the names, with a number appended to repeated ones."""
    found: dict[str, None] = {}  # in order
    for name in names:
        numbered = (f"{name} ({number})" for number in itertools.count(2))
        found[next(each for each in itertools.chain([name], numbered) if each not in found)] = None
    return list(found)


def propose_three(similarity: Tensor, exact: ClassSums, left_out: Sequence[int] = ()) -> Three | None:
    """Propose two similar classes and a third one, preferring frequent classes. Return None if there are too few.

    Args:
        similarity: `[K, K]`, of the K classes of `exact`.
        exact: sums of the classes.
        left_out: classes to leave out.
    """
    eligible = ~torch.isin(exact.types, torch.tensor(left_out, dtype=torch.int64))
    for least in (30, 10, 2):
        enough = eligible & (exact.counts.cpu() >= least)
        if int(enough.sum()) >= 3:
            a, b, c = (int(exact.types[row]) for row in propose(similarity, enough))
            return a, b, c
    return None
