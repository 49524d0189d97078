"""Whether a difference from the baseline could be chance: sacreBLEU's paired tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sacrebleu.metrics.base import Metric
from sacrebleu.significance import PairedTest

#: --paired -> what it is.
TESTS = {"bs": "paired bootstrap resampling", "ar": "paired approximate randomisation"}


class Compared(NamedTuple):
    """One system's score under one metric; `p` and the bootstrap's `mean` and `ci` are None where not computed."""

    score: float
    p: float | None
    mean: float | None
    ci: float | None  #: half of the 95 % interval


def paired_test(
    systems: Sequence[tuple[str, Sequence[str]]],
    metrics: dict[str, Metric],
    references: Sequence[Sequence[str]],
    kind: str = "bs",
    samples: int = 0,
    jobs: int = 1,
) -> tuple[dict[str, str], dict[str, list[Compared]]]:
    """Compare systems with the first of them.

    Args:
        systems: names and their translations; the baseline first.
        metrics: by our name.
        kind: bs (Koehn 2004) or ar (Riezler and Maxwell 2005).
        samples: 0 for sacreBLEU's default, 1,000 resamples or 10,000 trials.
        jobs: processes.

    Returns:
        By our metric's name: the signature, with samples and seed; and each system's outcome, in the order given.
    """
    signatures: dict[str, str] = {}
    found: dict[str, list[Compared]] = {}
    for name, metric in metrics.items():
        # One metric a call: sacreBLEU answers under its own names, by which ours are hard to know again.
        signed, scores = PairedTest(list(systems), {name: metric}, references, kind, samples, n_jobs=jobs)()
        (title,) = (key for key in scores if key != "System")
        results: list[Any] = scores[title]
        signatures[name] = str(signed[title])
        found[name] = [Compared(float(r.score), *map(_number, (r.p_value, r.mean, r.ci))) for r in results]
        # sacreBLEU counts the differences above that observed: where nothing differs, none is, and p would be least.
        for place, (_, lines) in enumerate(systems):
            if place and list(lines) == list(systems[0][1]):
                found[name][place] = found[name][place]._replace(p=1.0)
    return signatures, found


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
