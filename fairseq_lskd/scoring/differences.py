"""What one choice changed: systems that differ in it alone, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..records.result import SCORES, is_label, measured, system_of
from .seeds import Spread, spread
from .taught import plain_system


def bound(record: dict[str, Any]) -> Any:
    """The k of a distillation loss that compares the teacher's k types only, a lower bound; None where it is whole.

    Older records of cached students do not say k.
    """
    return record.get("kd_top_k") or ("cached" if record.get("cached") else None)


class Difference(NamedTuple):
    """A system less another, its baseline."""

    choice: str  #: the label in which they differ, or `DISTILLED`
    system: str
    baseline: str
    values: dict[str, Spread]  #: of the differences between runs of one seed


DISTILLED = "a teacher"


def differences(records: Sequence[dict[str, Any]]) -> tuple[list[Difference], list[str]]:
    """Paired differences of systems that one label tells apart, and of distilled students to those without a teacher.

    The baseline is the system with the first of the label's values, in the records' order. A system with the very
    labels of one before it differs in something that no label tells, and has no part in this.

    Returns:
        The differences, and the systems that were left out.
    """
    runs: dict[str, dict[Any, dict[str, Any]]] = {}
    for record in records:
        runs.setdefault(system_of(record), {})[record.get("seed")] = record
    found = []
    firsts = {system: next(iter(of.values())) for system, of in runs.items()}
    labels = _labels(firsts)
    for choice, system, baseline in _pairs(labels, firsts):
        seeds = [seed for seed in runs[system] if seed in runs[baseline]]
        both = [(runs[system][seed], runs[baseline][seed]) for seed in seeds]
        values = {
            name: spread([one[name] - other[name] for one, other in both])
            for name in measured(SCORES)
            if both
            and all(record.get(name) is not None for pair in both for record in pair)
            # Losses of other numbers of types are other quantities.
            and (name != "train_kd_loss" or all(bound(one) == bound(other) for one, other in both))
        }
        if values:
            found.append(Difference(choice, system, baseline, values))
    return found, [system for system in runs if system not in labels]


def _labels(firsts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Those of every system whose labels no system before it has."""
    names = [name for name in dict.fromkeys(n for record in firsts.values() for n in record) if is_label(name)]
    found: dict[str, dict[str, Any]] = {}
    for system, record in firsts.items():
        labels = {name: record.get(name) for name in names}
        if labels not in found.values():
            found[system] = labels
    return found


def _pairs(labels: dict[str, dict[str, Any]], firsts: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for choice in next(iter(labels.values())):
        baselines: dict[str, str] = {}
        for system, of in labels.items():
            baseline = baselines.setdefault(repr({**of, choice: None}), system)
            if system != baseline:
                yield choice, system, baseline
    for system in labels:
        if plain := plain_system(firsts[system], firsts):
            yield DISTILLED, system, plain
