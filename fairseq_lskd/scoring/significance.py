"""sacreBLEU's paired significance tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sacrebleu.metrics.base import Metric
from sacrebleu.significance import PairedTest

#: Value of --paired -> name of the test.
TESTS = {"bs": "paired bootstrap resampling", "ar": "paired approximate randomisation"}


class Compared(NamedTuple):
    """The score of a system; None: not computed."""

    score: float
    p: float | None
    ci: float | None  #: half of the bootstrap's 95 % interval


def paired_test(
    systems: Sequence[tuple[str, Sequence[str]]],
    metrics: dict[str, Metric],
    references: Sequence[Sequence[str]],
    kind: str = "bs",
    samples: int = 0,
    jobs: int = 1,
) -> tuple[dict[str, str], dict[str, list[Compared]]]:
    """Compare systems with the first one.

    Args:
        systems: names and translations, the baseline first.
        metrics: metrics by name.
        kind: bs (Koehn 2004) or ar (Riezler and Maxwell 2005).
        samples: number of resamples or trials; 0: sacreBLEU's default of 1,000 resamples or 10,000 trials.
        jobs: number of processes.

    Returns:
        Signatures with samples and seed, and the results of each system in the given order, by name of the metric.
    """
    signatures: dict[str, str] = {}
    found: dict[str, list[Compared]] = {}
    for name, metric in metrics.items():
        # One metric per call: sacreBLEU returns results under its own names.
        signed, scores = PairedTest(list(systems), {name: metric}, references, kind, samples, n_jobs=jobs)()
        (title,) = (key for key in scores if key != "System")
        results: list[Any] = scores[title]
        signatures[name] = str(signed[title])
        found[name] = [Compared(float(r.score), _number(r.p_value), _number(r.ci)) for r in results]
        # sacreBLEU counts differences greater than the observed one, which gives equal systems the smallest p.
        for place, (_, lines) in enumerate(systems):
            if place and list(lines) == list(systems[0][1]):
                found[name][place] = found[name][place]._replace(p=1.0)
    return signatures, found


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
