"""Choosing the settings of an engine by measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from fairseq_lskd.sequences import measure
from fairseq_lskd.sequences.decoding import Hypothesis, OutOfMemory, Settings

DEFAULT = Settings("cpu", "float32", 4, 1, 1024)
SAMPLE = [["a"]] * 5000


class Fake:
    """An engine whose int8 translations are less likely by `loss`. `memory` is its maximum number of tokens."""

    name, max_source_positions, default = "fake 1.0", 1024, DEFAULT

    def __init__(self, loss: float = 0.0, memory: float = float("inf")):
        self.loss, self.memory, self.configured = loss, memory, list[Settings]()
        self.stages = (
            lambda best: [replace(best, compute_type="int8")],
            lambda best: [replace(best, workers=n, threads=4 // n) for n in (4, 2, 1)],
            lambda best: [replace(best, max_tokens=n) for n in (512, 2048)],
        )

    def configure(self, settings: Settings) -> None:
        self.configured.append(settings)

    def log_probs(self, sources: list[list[str]], targets: list[list[str]]) -> list[list[float]]:
        assert self.configured[-1].compute_type == "float32"
        return [[-1.0 - (self.loss if target == ["int8"] else 0.0)] * 2 for target in targets]


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> dict[Any, float]:
    """Speed-ups over the default, by name and value of a setting."""
    speeds: dict[Any, float] = {}
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)

    def run(engine: Any, settings: Settings, sample: Sequence[list[str]]) -> tuple[list[Hypothesis], float]:
        assert engine.configured[-1] == settings
        if settings.max_tokens > engine.memory:
            raise OutOfMemory(f"{settings.max_tokens} tokens: lower --max-tokens")
        rate = 100.0
        for name, value in vars(settings).items():
            rate *= speeds.get((name, value), 1.0)
        clock.now += len(sample) / rate
        return [Hypothesis([settings.compute_type], -1.0, 2)] * len(sample), len(sample) / rate

    monkeypatch.setattr(measure, "time", clock)
    monkeypatch.setattr(measure, "_run", run)
    return speeds


def choose(engine: Fake, sentences: int = 100_000, **fixed: Any) -> measure.Measurement:
    found = measure.measure(engine, fixed, SAMPLE, sentences)  # type: ignore[arg-type]  # an engine in part
    assert engine.configured[-1] == found.settings
    return found


def test_the_fastest_of_each_stage_is_carried_on(speeds: dict[Any, float]) -> None:
    speeds |= {("compute_type", "int8"): 1.5, ("workers", 2): 1.2, ("workers", 1): 0.8, ("max_tokens", 2048): 1.1}
    found = choose(Fake())
    assert found.settings == Settings("cpu", "int8", 2, 2, 2048)
    assert found.rate == pytest.approx(100 * 1.5 * 1.2 * 1.1)
    assert [row["sentences_per_second"] for row in found.rows] == [100.0, 150.0, 180.0, 120.0, 180.0, 198.0]


def test_a_difference_that_may_be_noise_changes_nothing(speeds: dict[Any, float]) -> None:
    speeds |= {("compute_type", "int8"): 1.02, ("workers", 2): 1.01, ("max_tokens", 512): 1.02}
    assert choose(Fake()).settings == DEFAULT


@pytest.mark.parametrize(("loss", "kind"), [(0.009, "int8"), (0.011, "float32"), (float("nan"), "float32")])
def test_int8_must_translate_as_well(speeds: dict[Any, float], loss: float, kind: str) -> None:
    speeds |= {("compute_type", "int8"): 2.0}
    found = choose(Fake(loss))
    assert found.settings.compute_type == kind
    assert found.rows[1]["loss"] == pytest.approx(round(loss, 5), nan_ok=True)


def test_settings_of_the_user_are_kept(speeds: dict[Any, float]) -> None:
    speeds |= {("compute_type", "int8"): 2.0, ("workers", 1): 2.0, ("max_tokens", 512): 2.0}
    found = choose(Fake(), compute_type="float32", workers=2, threads=2, batch_size=8)
    assert found.settings == Settings("cpu", "float32", 2, 2, 512, 8)


def test_settings_that_run_out_of_memory_are_skipped(speeds: dict[Any, float]) -> None:
    speeds |= {("max_tokens", 512): 1.1, ("max_tokens", 2048): 2.0}
    found = choose(Fake(memory=1500))
    assert found.settings == replace(DEFAULT, max_tokens=512)
    failed = [row["failed"] for row in found.rows if row["max_tokens"] == 2048]
    assert failed == ["out of memory"]
    assert all(("failed" in row) != ("sentences_per_second" in row) for row in found.rows)


def test_smaller_batches_come_next_if_the_default_runs_out_of_memory(speeds: dict[Any, float]) -> None:
    speeds |= {("compute_type", "int8"): 1.5}
    found = choose(Fake(memory=600))
    assert found.settings == replace(DEFAULT, compute_type="int8", max_tokens=512)
    assert [row.get("failed") for row in found.rows[:2]] == ["out of memory", None]


@pytest.mark.parametrize("fixed", [{}, {"max_tokens": 1024}], ids=str)
def test_if_all_settings_run_out_of_memory_the_error_is_raised(speeds: dict[Any, float], fixed: dict[str, int]) -> None:
    with pytest.raises(OutOfMemory, match="lower --max-tokens"):
        choose(Fake(memory=600 if fixed else 100), **fixed)


@pytest.mark.parametrize(("sentences", "stages"), [(100, 0), (400, 1), (20_000, 3)])
def test_fewer_stages_are_tried_for_a_shorter_run(speeds: dict[Any, float], sentences: int, stages: int) -> None:
    """100 sentences take a second. The first pass alone takes more than the budget of a fifth."""
    speeds |= {("compute_type", "int8"): 1.5, ("workers", 2): 1.2, ("max_tokens", 2048): 1.1}
    found = choose(Fake(), sentences=sentences)
    tried = [found.settings.compute_type != "float32", found.settings.workers == 2, found.settings.max_tokens == 2048]
    assert tried == [stages > i for i in range(3)]
