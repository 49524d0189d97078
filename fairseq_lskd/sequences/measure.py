"""Choosing an engine's settings by a short measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .decoding import Batch, Engine, Hypothesis, OutOfMemory, Settings, make_batches

#: Seconds that a pass over the sample is to take with the default settings.
SECONDS = 1.0
#: Passes over it with each of the settings: the fastest counts, as others' work on the machine only slows.
PASSES = 2
#: Settings have to be faster than the best so far by this much: less is noise.
MARGIN = 1.03
#: What int8 and float16 may lose, in natural logarithms of the float32 model's probability a token.
MAX_LOSS = 0.01
#: Why settings failed.
MEMORY = "out of memory"
#: Shares of the seconds that translating would take with the default settings: what a pass may take of them, and what
#: all measuring may have taken when another stage begins, so that a short run does not spend itself on its settings.
PASS, ALL = 0.05, 0.2


@dataclass
class Measurement:
    """The settings that were chosen, and what they were chosen from."""

    settings: Settings
    rate: float  #: sentences a second
    rows: list[dict[str, Any]]  #: all settings that were tried, each with its rate or why it failed

    def __str__(self) -> str:
        return f"{self.settings}: {self.rate:,.0f} sentences a second, the best of {len(self.rows)} settings"


def measure(engine: Engine, fixed: Mapping[str, Any], sample: Sequence[list[str]], sentences: int) -> Measurement:
    """Try settings on a sample, one stage after the other, and leave the engine ready with the fastest.

    Args:
        engine: its `default` is tried first.
        fixed: fields of `Settings` that the user chose.
        sample: sentences in pieces, none empty, in random order; as many of them are taken as fill a pass.
        sentences: how many are to be translated.

    Raises:
        OutOfMemory: if no settings are small enough; those that are too large are passed over.
    """
    rows: list[dict[str, Any]] = []

    def candidates(stage: Callable[[Settings], list[Settings]]) -> list[Settings]:
        """What a stage makes of the best so far, where the user did not choose otherwise."""
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
    """As much of the sample as fills a pass, its best hypotheses, and sentences a second; of the first settings."""
    engine.configure(settings)
    size = 8 * settings.workers
    while True:
        hypotheses, seconds = _run(engine, settings, sample[:size])
        rate = len(hypotheses) / seconds
        wanted = min(SECONDS, PASS * sentences / rate)
        if seconds >= wanted / 2 or size >= len(sample):
            break
        # The first passes are slow (caches, threads), so the estimate is not trusted by more than a factor of 4.
        size = min(max(2 * size, int(rate * wanted)), 4 * size)
    used = sample[:size]
    if time.perf_counter() - begun < ALL * sentences / rate:
        rate = len(used) / min(seconds, _run(engine, settings, used)[1])
    return used, hypotheses, rate


def _run(engine: Engine, settings: Settings, sample: Sequence[list[str]]) -> tuple[list[Hypothesis], float]:
    """The best hypothesis of each sentence, and the seconds it took."""
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
    """How much less likely `theirs` are than `ours` for the model in full precision: nats a token, on average."""
    engine.configure(full)
    means = []
    for hypotheses in (ours, theirs):
        total = 0.0
        for batch in make_batches([len(pieces) for pieces in sources], full.max_tokens, full.batch_size):
            found = engine.log_probs([sources[i] for i in batch], [hypotheses[i].tokens for i in batch])
            total += sum(sum(each) / len(each) for each in found)
        means.append(total / len(hypotheses))
    return means[0] - means[1]
