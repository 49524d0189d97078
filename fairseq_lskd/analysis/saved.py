"""A study of saved outputs of classifiers: from .npz files to findings. `measuring.study` is the one for models."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..files import sha256
from .arrays import Outputs, load_npz
from .choice import Choice, propose_three
from .classes import pair_up
from .measurement import Measurement
from .sections.findings import Findings
from .system import Seen, System, least_smoothed_first, pictured
from .terms import CLASSIFIER

#: Maximum number of log-probabilities processed at a time.
BLOCK = 2**22
WHOLE = "all examples"
NO_FEATURES = "the file has no features and output_matrix"
#: The log-probability that replaces -inf: the log of float32's smallest normal number.
LEAST = math.log(torch.finfo(torch.float32).tiny)


@dataclass(frozen=True, kw_only=True)
class Request(Choice):
    """Options, as described by `lskd analyze --help`."""

    from_npz: list[Path] = field(metadata={"path": True})

    def options(self) -> dict[str, Any]:
        """Return the options that the numbers depend on; of the files only their number."""
        return {**super().options(), "from-npz": len(self.from_npz)}


class Saved:
    """Saved outputs of several classifiers for the same examples. Every example is resampled on its own."""

    def __init__(self, request: Request):
        """Read and check the files.

        Raises:
            UserError: if a file is invalid, or examples or classes of files differ. The message lists all problems.
        """
        self.request = request
        self.whole = _read(request.from_npz)
        self.split = request.split if any(each.split for each in self.whole) else WHOLE
        self.outputs = [each.of_split(request.split) if each.split else each for each in self.whole]
        if problems := _differences(self.outputs, request.from_npz):
            raise UserError("\n  ".join(problems))
        first = self.outputs[0]
        self.symbols = next((o.names for o in self.outputs if o.names), None) or [
            f"class {i}" for i in range(first.classes)
        ]

    @cached_property
    def inputs(self) -> dict[str, str]:
        return {f"from-npz {i}: {path.name}": sha256(path) for i, path in enumerate(self.request.from_npz, start=1)}

    def load(self) -> None:
        """Plan the measurement.

        Raises:
            UserError: if too few classes have enough examples, the memory is too small, or --types are not found.
        """
        request, first = self.request, self.outputs[0]
        lacking = [each.name for each in self.outputs if each.output_matrix is None]
        request.check_outputs([(name, NO_FEATURES) for name in lacking])
        self.counts = first.labels.bincount(minlength=first.classes)
        self.plan = request.plan(self.counts, len(self.outputs), f"{self.split} of {first.name}", CLASSIFIER)
        number = {name: i for i, name in enumerate(self.symbols)}
        unknown = f"is not a class; the first classes are {', '.join(self.symbols[:3])}"
        self.chosen = request.three(number.get, self.counts, unknown)

    def __str__(self) -> str:
        first = self.outputs[0]
        return (
            f"{len(first.labels):,} examples; {len(self.plan.types):,} of {first.classes:,} classes have at least "
            f"{self.request.min_count}"
        )

    def measure(self, shard: int = 0, of: int = 1) -> list[Measurement]:
        return [self._measured(each, shard, of) for each in self.outputs]

    def _measured(self, one: Outputs, shard: int, of: int) -> Measurement:
        never = int(one.log_probs.gather(1, one.labels[:, None]).isneginf().sum())
        if never:
            print(
                f"{one.name}: the label has probability 0 in {never:,} examples, which counts as "
                f"{math.exp(LEAST):.2g}. Save logits for exact results",
                file=sys.stderr,
            )
        found = Measurement(self.plan, None if one.features is None else one.features.size(1))
        units = torch.arange(shard, len(one.labels), of)
        for rows in units.split(max(1, BLOCK // one.classes)):
            hidden = None if one.features is None else one.features[rows]
            found.update(one.log_probs[rows].clamp_min(LEAST), one.labels[rows], rows, hidden)
        return found

    def findings(self, measured: Sequence[Measurement]) -> Findings:
        """Return the findings for the sections of a report."""
        similarity = self.request.similarity(measured, [each.output_matrix for each in self.outputs])
        three = self.chosen or propose_three(similarity, measured[0].exact)
        names = self.request.called([each.called for each in self.outputs])
        teachers = []
        for i, (name, one) in enumerate(zip(names, measured, strict=True)):
            path = self.request.from_npz[i]
            extra = {"file": path.name, "SHA-256": sha256(path)[:12]}
            why = NO_FEATURES if self.outputs[i].features is None else None
            system = System(name, one, self.outputs[i].smoothing, why, extra=extra, path=str(path))
            teachers.append(system if three is None else self._pictured(system, i, three))
        return Findings(
            teachers=least_smoothed_first(teachers),
            students=[],
            symbols=self.symbols,
            split=self.split,
            pairs=pair_up(similarity),
            similarity=self.request.similar_by,
            triple=three,
            facts={
                "examples": f"{len(self.outputs[0].labels):,} ({self.split})",
                "classes": f"{self.outputs[0].classes:,}",
                "classes with enough examples": f"{len(self.plan.types):,}",
                "sketched classes": f"{len(self.plan.sketched):,}",
                "minimum examples per class": str(self.request.min_count),
            },
            terms=CLASSIFIER,
        )

    def _pictured(self, system: System, i: int, three: tuple[int, int, int]) -> System:
        whole, one, train = self.whole[i], self.outputs[i], self.request.train_split
        if one.output_matrix is None or one.features is None:
            return system
        seen = [Seen(self.split, one.features, one.labels)]
        if train != self.request.split and train in whole.splits:
            more = whole.of_split(train)
            assert more.features is not None
            seen.insert(0, Seen(train, more.features, more.labels))
        return pictured(system, one.output_matrix, three, seen)


def _read(paths: Sequence[Path]) -> list[Outputs]:
    found, problems = [], []
    for path in paths:
        try:
            found.append(load_npz(path))
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n  ".join(problems))
    return found


def _differences(outputs: Sequence[Outputs], paths: Sequence[Path]) -> list[str]:
    """Compare the examples and classes of each file with the first. Return one line per difference."""
    first, problems = outputs[0], []
    for one, path in zip(outputs[1:], paths[1:], strict=True):
        there = f"in {paths[0]}"
        if one.classes != first.classes:
            problems.append(f"{path}: found {one.classes:,} classes, expected {first.classes:,} as {there}")
        if len(one.labels) != len(first.labels):
            problems.append(f"{path}: found {len(one.labels):,} examples, expected {len(first.labels):,} as {there}")
        elif len(wrong := (one.labels != first.labels).nonzero()):
            row = int(wrong[0])
            problems.append(
                f"{path}: {len(wrong):,} labels differ, first in example {row} (counted from 0): found "
                f"{int(one.labels[row])}, expected {int(first.labels[row])} as {there}. All files need the same "
                "examples in the same order"
            )
        if one.names and first.names and one.names != first.names:
            problems.append(f"{path}: the names of the classes differ from those {there}")
    return problems
