"""Paired differences between systems that differ in one label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from ..records.result import COLUMNS, SCORES, is_label, measured, pairs_of, system_of
from ..records.training import Training
from .metrics import NAMES, how_scored
from .seeds import Spread, spread
from .taught import cached_as, plain_system, unnamed_size


class Support(NamedTuple):
    """The types that a distillation loss compares."""

    types: int | None  #: number of the teacher's most probable types; None in older records
    rest: str  #: "class": one more class for all others; the loss is a lower bound of that over the vocabulary


def support(record: dict[str, Any]) -> Support | None:
    """Return what a distillation loss is computed over, or None for the vocabulary. Unbiased caches estimate that."""
    top_k = record.get("kd_top_k")
    if top_k or (record.get("cached") and not record.get("cache_bytes")):
        return Support(top_k, record.get("kd_rest", "class"))
    return None


class Difference(NamedTuple):
    """The differences of a system to its baseline."""

    choice: str  #: the label in which they differ, or `DISTILLED`
    system: str
    baseline: str
    values: dict[str, Spread]  #: differences between runs of the same seed, by metric


DISTILLED = "a teacher"
SIZE = "parameters"  #: stands for the label "size" of models without one
#: Facts that do not explain a difference in size. Labels of the user's own may.
_FACTS = {*COLUMNS, *(fact.name for fact in fields(Training))} - {"role", "size", "pairs", SIZE}


def differences(records: Sequence[dict[str, Any]]) -> tuple[list[Difference], list[str]]:
    """Return paired differences of systems that differ in one label, and of distilled to undistilled students.

    The baseline is the first system with all other labels equal. A system with exactly the labels of an earlier system
    differs in something that has no label. It is left out.

    Returns:
        The differences, and the names of the systems that were left out.
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
            # Losses over different types are not comparable, nor are scores with different tokenisers or references.
            and (name != "train_kd_loss" or all(support(one) == support(other) for one, other in both))
            and (name not in NAMES or all(how_scored(one, name) == how_scored(other, name) for one, other in both))
        }
        if values:
            found.append(Difference(choice, system, baseline, values))
    return found, [system for system in runs if system not in labels]


def _labels(firsts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the labels of every system, without systems that repeat the labels of an earlier one."""
    names = [name for name in dict.fromkeys(n for record in firsts.values() for n in record) if is_label(name)]
    if len(pairs_of(firsts.values())) < 2:
        names = [name for name in names if name != "pair"]  # rows of older versions do not have it
    found: dict[str, dict[str, Any]] = {}
    for system, record in firsts.items():
        labels = {name: cached_as(record) if name == "cached" else record.get(name) for name in names}
        labels[SIZE] = unnamed_size(record)
        if labels not in found.values():
            found[system] = labels
    return found


def _pairs(labels: dict[str, dict[str, Any]], firsts: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    # Systems of different language pairs are not compared.
    for choice in (label for label in next(iter(labels.values())) if label != "pair"):
        baselines: dict[str, str] = {}
        varied = [choice] if choice in _FACTS else [choice, SIZE]
        for system, of in labels.items():
            baseline = baselines.setdefault(repr({**of, **dict.fromkeys(varied)}), system)
            if of[choice] != labels[baseline][choice]:
                yield choice, system, baseline
    for system in labels:
        if plain := plain_system(firsts[system], firsts):
            yield DISTILLED, system, plain
