"""Scoring options that `lskd score` and `lskd record` share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.generated import TRUTH
from ..errors import UserError
from ..lines import read_lines
from .comparison import Data
from .metrics import of_words
from .systems import read_training
from .tokeniser import Chosen, choose


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """Options, as described by `lskd score --help`."""

    references: Sequence[Path] | None = None
    language_pair: str | None = None
    train: Sequence[Path] = ()
    metrics: Sequence[str] | None = None
    tokenize: str | None = None
    allow_tokenised: bool = False
    allow_empty: bool = False
    allow_overlap: bool = False
    allow_unknown: bool = False

    def problems(self) -> list[str]:
        """Check the options without reading files. Return one line per problem."""
        if not self.language_pair:
            return []
        source, _, target = self.language_pair.partition("-")
        if not (source and target):
            return [f"-l {self.language_pair}: expected S-T, such as en-de"]
        return [
            f"--references {path} ends in .{source}, the source language of -l {self.language_pair}: "
            f"expected references in {target}"
            for path in self.references or ()
            if source != target and path.name.removesuffix(".gz").endswith(f".{source}")
        ]

    def check_options(self) -> None:
        """Raise a `UserError` with all `problems` if there are any."""
        if problems := self.problems():
            raise UserError("; ".join(problems))

    @property
    def language(self) -> str:
        """The target language; "" if it is not given."""
        return (self.language_pair or "").partition("-")[2]

    def read_references(self) -> tuple[list[str], list[list[str]]]:
        paths = self.references or ()
        return [str(path) for path in paths], [list(read_lines(path)) for path in paths]

    def choose(self, references: Sequence[Sequence[str]]) -> Chosen:
        return choose(references[0], self.language, self.tokenize)

    def check(self, data: Data, names: Sequence[str], generated: bool = False, weak: bool = False) -> None:
        """Check texts with `Data.check`. The references of `lskd generate` have its truth.json beside them."""
        source, _, target = (self.language_pair or "").partition("-")
        training = read_training(self.train, (source, target) if target else None)
        allowed = self.allow_tokenised, self.allow_empty, self.allow_overlap
        data.check(
            names,
            training,
            *allowed,
            weak=weak,
            language=self.language,
            allow_unknown=self.allow_unknown,
            generated=generated or any((path.parent / TRUTH).is_file() for path in self.references or ()),
        )

    def doubts(self, chosen: Chosen, metrics: Sequence[str]) -> list[str]:
        """Return warnings about the references, and about these metrics on them."""
        return [*chosen.warnings, *filter(None, [of_words(metrics, chosen)])]


def same_length(names: Sequence[str], sides: Sequence[Sequence[str]]) -> None:
    """Check that all sides of a test set have the same number of lines, and at least one.

    Raises:
        UserError: otherwise. The message names the sides.
    """
    if others := [i for i, lines in enumerate(sides) if len(lines) != len(sides[0])]:
        lengths = [f"{names[i]} has {len(sides[i]):,} lines" for i in (0, *others)]
        raise UserError(f"{', '.join(lengths)}: expected the same number of lines in each")
    if not sides[0]:
        raise UserError(f"{names[0]}: expected lines to score, found none")


def warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
