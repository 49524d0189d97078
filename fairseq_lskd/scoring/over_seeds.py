"""Result records of several seeds as one row a system."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..analysis.results import MEASURED
from .seeds import spread

__all__ = ["MEASURED", "add_speeds", "mean_records", "system_of"]


def system_of(record: dict[str, Any]) -> str:
    """A record's system without the mark of its seed, `-s1`."""
    name = record["system"]
    return name.removesuffix(f"-s{record['seed']}") if record.get("seed") is not None else name


def add_speeds(records: Sequence[dict[str, Any]], speeds: dict[str, Any]) -> None:
    """Put the speeds that `lskd speed` measured into records of the same system, whichever seed was measured."""
    rates = {re.sub(r"-s\d+$", "", name): entry["sentences_per_second"] for name, entry in speeds["systems"].items()}
    machine = speeds["machine"]
    threads = f"{speeds['threads']} thread{'s' * (speeds['threads'] != 1)}"
    where = f"{machine['gpus'][0] if machine['gpus'] else machine['cpu']}, {threads}"
    for record in records:
        rate = rates.get(system_of(record))
        if rate is not None:
            record |= {"sentences_per_second": rate, "speed_machine": where}


def mean_records(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A record a system: means of what is measured, `NAME_std` beside each; all else is the first's.

    A system has `converged` if every seed of it has. The number of `seeds` is there if any system has several.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(system_of(record), []).append(record)
    means = []
    for name, group in groups.items():
        mean = {**group[0], "system": name}
        if len(groups) < len(records):
            mean["seeds"] = len(group)
        for key in MEASURED:
            values = [record[key] for record in group if record.get(key) is not None]
            if values:
                found = spread(values)
                mean |= {key: found.mean, f"{key}_std": found.std}
        if any("converged" in record for record in group):
            mean["converged"] = _all_converged([record.get("converged") for record in group])
        means.append(mean)
    return means


def _all_converged(answers: Sequence[bool | None]) -> bool | None:
    """Whether all of several trainings had; one that had not decides, one that is not known leaves it open."""
    if False in answers:
        return False
    return None if None in answers else True
