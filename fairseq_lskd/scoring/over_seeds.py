"""Average the records of several seeds to one row per system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..commands import languages_of
from ..records.result import measured, run_of, system_of
from .seeds import spread


def add_speeds(records: Sequence[dict[str, Any]], speeds: dict[str, Any]) -> list[str]:
    """Add the speeds of `lskd speed` to records: each its own, or that of another seed of its system.

    A multilingual model has the speed of its run for the language pair that was decoded, and not for others.
    `speed_others_cores` is the number of cores that other programs kept busy meanwhile, or None if it was not measured.

    Returns:
        The names of the systems without a speed.
    """
    pair = "-".join(map(str, languages_of(speeds.get("options", ()))))
    own = [_own(record, speeds["systems"], pair) for record in records]
    of_systems = {system_of(record): entry for record, entry in zip(records, own, strict=True) if entry is not None}
    machine = speeds["machine"]
    threads = f"{speeds['threads']} thread{'s' * (speeds['threads'] != 1)}"
    on_gpu = machine["gpus"] and speeds.get("device") != "cpu"
    where = f"{machine['gpus'][0] if on_gpu else machine['cpu']}, {threads}"
    without: dict[str, None] = {}
    for record, entry in zip(records, own, strict=True):
        if (entry := entry or of_systems.get(system_of(record))) is None:
            without[system_of(record)] = None
            continue
        exported = entry.get("exported", {})
        others = [each for each in (entry.get("others_cores"), exported.get("others_cores")) if each is not None]
        record |= {"sentences_per_second": entry["sentences_per_second"], "speed_machine": where}
        record["speed_others_cores"] = max(others, default=None)
        if exported and record.get("exported"):
            record["exported"] = record["exported"] | {"sentences_per_second": exported["sentences_per_second"]}
    return list(without)


def _own(record: dict[str, Any], of_runs: dict[str, Any], pair: str) -> dict[str, Any] | None:
    """Return the speed of a record. `pair` is the language pair that was decoded."""
    found: dict[str, Any] | None = of_runs.get(record["system"])
    return of_runs.get(run_of(record)) if found is None and record.get("pair") == pair else found


def mean_records(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one record per system, with means and standard deviations (`NAME_std`) of all measured fields.

    Other fields are those of the system's first record. `converged` is true if it is for every seed. `seeds`, the
    number of records, is added if any system has several; that of `exported` counts the records that have it.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(system_of(record), []).append(record)
    means = []
    for name, group in groups.items():
        mean = {**group[0], "system": name}
        if len(groups) < len(records):
            mean["seeds"] = len(group)
        mean |= _means(group)
        if exported := [record["exported"] for record in group if record.get("exported")]:
            mean["exported"] = {**exported[0], **_means(exported), "seeds": len(exported)}
        if any("converged" in record for record in group):
            mean["converged"] = _all_converged([record.get("converged") for record in group])
        means.append(mean)
    return means


def _all_converged(answers: Sequence[bool | None]) -> bool | None:
    """Return False if any run had not converged, else None if any is unknown, else True."""
    if False in answers:
        return False
    return None if None in answers else True


def _means(group: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return means and standard deviations of the measured fields that any record has."""
    means: dict[str, Any] = {}
    for key in measured():
        values = [record[key] for record in group if record.get(key) is not None]
        if values:
            found = spread(values)
            means |= {key: found.mean, f"{key}_std": found.std}
    return means
