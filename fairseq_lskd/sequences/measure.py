"""Choose the settings of an engine by a short measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .decoding import Batch, Engine, Hypothesis, OutOfMemory, Settings, make_batches

#: Target duration in seconds of a pass over the sample with the default settings.
SECONDS = 1.0
#: Passes over the sample with each setting. The fastest counts, as other processes can only slow a pass down.
PASSES = 2
#: Minimum speed-up over the best settings so far. Less is noise.
MARGIN = 1.03
#: Maximum loss of int8 and float16, in nats per token under the float32 model.
MAX_LOSS = 0.01
#: The reason for failed settings, in the rows of a measurement.
MEMORY = "out of memory"
#: Maximum durations, as shares of the estimated time of the whole translation with the default settings: of one pass,
#: and of the measurement so far when another stage begins. They keep the measurement short for a small corpus.
PASS, ALL = 0.05, 0.2


@dataclass
class Measurement:
    """The chosen settings, and all settings that were measured."""

    settings: Settings
    rate: float  #: sentences per second
    rows: list[dict[str, Any]]  #: the measured settings, each with its speed or the reason for its failure

    def __str__(self) -> str:
        return f"{self.settings}: {self.rate:,.0f} sentences per second, the best of {len(self.rows)} settings"


def measure(engine: Engine, fixed: Mapping[str, Any], sample: Sequence[list[str]], sentences: int) -> Measurement:
    """Measure settings on a sample, stage by stage, and configure the engine with the fastest.

    Settings that run out of memory are skipped.

    Args:
        engine: its `default` settings are measured first.
        fixed: fields of `Settings` that the user gave.
        sample: non-empty sentences in pieces, in random order. As many are used as a pass needs.
        sentences: number of sentences of the whole translation.

    Raises:
        OutOfMemory: if no settings fit into memory.
    """
    rows: list[dict[str, Any]] = []

    def candidates(stage: Callable[[Settings], list[Settings]]) -> list[Settings]:
        """Return the settings of a stage that agree with those of the user."""
        return [
            candidate
            for candidate in stage(best)
            if candidate != best and all(getattr(candidate, name) == value for name, value in fixed.items())
        ]

    best = replace(engine.default, **fixed)
    begun = time.perf_counter()
    while True:
        row = asdict(best)
        rows.append(row)
        try:
            used, hypotheses, rate = _first(engine, best, sample, sentences, begun)
            break
        except OutOfMemory:
            row["failed"] = MEMORY
            smaller = [one for stage in engine.stages for one in candidates(stage) if one.max_tokens < best.max_tokens]
            if not smaller:
                raise
        best = max(smaller, key=lambda settings: settings.max_tokens)
    row["sentences_per_second"] = round(rate, 1)
    budget = ALL * sentences / rate
    for stage in engine.stages:
        if time.perf_counter() - begun > budget:
            break
        for candidate in candidates(stage):
            row = asdict(candidate)
            rows.append(row)
            try:
                engine.configure(candidate)
                passes = [_run(engine, candidate, used) for _ in range(PASSES)]
                found, candidate_rate = passes[0][0], len(used) / min(seconds for _, seconds in passes)
                row["sentences_per_second"] = round(candidate_rate, 1)
                if candidate.compute_type != best.compute_type:
                    row["loss"] = round(_loss(engine, best, used, hypotheses, found), 5)
            except OutOfMemory:
                row["failed"] = MEMORY
                continue
            if row.get("loss", 0) <= MAX_LOSS and candidate_rate > MARGIN * rate:
                best, rate = candidate, candidate_rate
    engine.configure(best)
    return Measurement(best, rate, rows)


def _first(
    engine: Engine, settings: Settings, sample: Sequence[list[str]], sentences: int, begun: float
) -> tuple[Sequence[list[str]], list[Hypothesis], float]:
    """Measure the first settings. Return the used part of the sample, its best hypotheses, and sentences per second."""
    engine.configure(settings)
    size = 8 * settings.workers
    while True:
        hypotheses, seconds = _run(engine, settings, sample[:size])
        rate = len(hypotheses) / seconds
        wanted = min(SECONDS, PASS * sentences / rate)
        if seconds >= wanted / 2 or size >= len(sample):
            break
        # The first passes are slow (caches, threads), so the size grows at most by a factor of 4.
        size = min(max(2 * size, int(rate * wanted)), 4 * size)
    used = sample[:size]
    if time.perf_counter() - begun < ALL * sentences / rate:
        rate = len(used) / min(seconds, _run(engine, settings, used)[1])
    return used, hypotheses, rate


def _run(engine: Engine, settings: Settings, sample: Sequence[list[str]]) -> tuple[list[Hypothesis], float]:
    """Return the best hypothesis of each sentence, and the duration in seconds."""
    found: list[Hypothesis | None] = [None] * len(sample)
    rows = make_batches([len(pieces) for pieces in sample], settings.max_tokens, settings.batch_size)
    begun = time.perf_counter()
    batches = (Batch([sample[i] for i in batch], 0, batch[0]) for batch in rows)
    for batch, hypotheses in zip(rows, engine.translate(batches), strict=True):
        for index, best in zip(batch, hypotheses, strict=True):
            found[index] = best[0]
    return [best for best in found if best is not None], time.perf_counter() - begun


def _loss(
    engine: Engine,
    full: Settings,
    sources: Sequence[list[str]],
    ours: Sequence[Hypothesis],
    theirs: Sequence[Hypothesis],
) -> float:
    """Return how much less likely `theirs` are than `ours` under the `full` (float32) settings, in nats per token."""
    engine.configure(full)
    means = []
    for hypotheses in (ours, theirs):
        total = 0.0
        for batch in make_batches([len(pieces) for pieces in sources], full.max_tokens, full.batch_size):
            found = engine.log_probs([sources[i] for i in batch], [hypotheses[i].tokens for i in batch])
            total += sum(sum(each) / len(each) for each in found)
        means.append(total / len(hypotheses))
    return means[0] - means[1]
